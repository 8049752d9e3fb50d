/**
 * Draws the parts of a view with WebGL2: one context for all viewers of a page, each with a 2D canvas of its own.
 *
 * A level is a texture whose mipmaps follow the pixel model (a pixel is the scene seen through a Gaussian of sigma
 * 0.5 of its width): halving by [1 3 3 1] / 8 per axis adds just the variance that the larger pixel has more. A step of
 * s pixels between two mipmaps is a mixture of both with the variance s asks for.
 *
 * @import { Layer, Picture } from "./fades.mjs"
 */

import { faded } from "./fades.mjs";
import { clamp } from "./geometry.mjs";

// Pixels uploaded, reduced and drawn at a time, so that no frame waits for a large level: the first is a copy; the
// others are long where the processor draws.
const COPIED = 1 << 19;
const REDUCED = 1 << 17;
const DRAWN = 1 << 16;
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

const REDUCE = `#version 300 es
precision highp float;
uniform sampler2D source;
out vec4 color;
void main() {
  // Two bilinear taps an axis, three quarters of a texel from the middle, weigh four texels 1 3 3 1.
  vec2 full = vec2(textureSize(source, 0));
  vec2 middle = gl_FragCoord.xy / max(floor(full / 2.0), 1.0);
  vec2 tap = 0.75 / full;
  vec2 back = vec2(tap.x, -tap.y);
  color = 0.25 * (textureLod(source, middle - tap, 0.0) + textureLod(source, middle + tap, 0.0) +
    textureLod(source, middle + back, 0.0) + textureLod(source, middle - back, 0.0));
}`;

const DRAW = `#version 300 es
precision highp float;
uniform sampler2D source;
uniform vec2 middle;    // of the viewport in the level's frame
uniform vec2 size;
uniform vec2 viewport;  // pixels
uniform vec4 edges;     // left, right, top, bottom of the level in viewport pixels
uniform vec4 rises;     // over how many pixels it fades in from each edge
uniform float lod;
uniform float coarse;   // share of the next mipmap
uniform float opacity;
uniform float power;
out vec4 color;

vec3 linear(vec2 at, float level) { return textureLod(source, at, level).rgb; }

// Keys' cubic of a = -0.75, for distances up to 2.
vec2 weights(vec2 d) {
  d = abs(d);
  vec2 near = (1.25 * d - 2.25) * d * d + 1.0;
  vec2 far = -0.75 * (((d - 5.0) * d + 8.0) * d - 4.0);
  return mix(near, far, step(1.0, d));
}

vec3 cubic(vec2 at, float level) {
  ivec2 whole = textureSize(source, int(level));
  vec2 position = at * vec2(whole) - 0.5;
  vec3 sum = vec3(0.0);
  for (int i = 0; i < 16; i++) {
    vec2 texel = floor(position) + vec2(i & 3, i >> 2) - 1.0;
    vec2 weight = weights(position - texel);
    sum += weight.x * weight.y * texelFetch(source, clamp(ivec2(texel), ivec2(0), whole - 1), int(level)).rgb;
  }
  return sum;
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, viewport.y - gl_FragCoord.y);
  vec4 inside = (pixel.xxyy - edges) * vec4(1.0, -1.0, 1.0, -1.0);
  vec4 wide = max(rises, 1.0);
  vec4 reached = clamp((inside - 0.5 * rises + 0.5 * wide) / wide, 0.0, 1.0);
  vec2 weight = min(reached.xz, reached.yw);
  weight = pow(weight * weight * (3.0 - 2.0 * weight), vec2(power));
  float alpha = opacity * weight.x * weight.y;
  if (alpha == 0.0) discard;
  vec2 at = middle + (pixel / viewport - 0.5) * size;
  vec3 near = mix(SAMPLE(at, lod), SAMPLE(at, lod + 1.0), coarse);
  color = vec4(clamp(near, 0.0, 1.0) * alpha, alpha);
}`;

export const nextFrame = () => new Promise(requestAnimationFrame);

export class WebGLRenderer {
  lost = false;
  canvas = document.createElement("canvas");

  /** Fails without WebGL2. @param {() => void} onChange called when the context is lost or back: pictures are made anew */
  constructor(onChange) {
    // A view at rest may be drawn in several frames.
    const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true };
    const gl = /** @type {WebGL2RenderingContext} */ (this.canvas.getContext("webgl2", options));
    const named = gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER;
    /** Whether the processor draws. */
    this.slow = SOFTWARE.test(gl.getParameter(named));
    this.gl = gl;
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.lost = true;
      onChange();
    });
    this.canvas.addEventListener("webglcontextrestored", () => {
      for (const _ of this.prepare());
      this.lost = false;
      onChange();
    });
  }

  /** Compiling takes a while: a program a step. */
  *prepare() {
    const { gl } = this;
    yield;
    this.framebuffer = gl.createFramebuffer();
    this.largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.enable(gl.SCISSOR_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.reduceProgram = program(gl, REDUCE);
    yield;
    // Two programs, not a branch: where the processor draws, it would work out both of its sides.
    this.fineProgram = program(gl, DRAW.replaceAll("SAMPLE", "cubic"));
    yield;
    if (!this.slow) this.fastProgram = program(gl, DRAW.replaceAll("SAMPLE", "linear"));
  }

  /** Gives a picture its texture, in slices, while it is there and wanted. @param {Picture} picture */
  async upload(picture, wanted = () => true) {
    const { gl } = this;
    const { bitmap, width, height } = picture;
    const going = () => picture.bitmap && wanted();
    if (!going()) return;
    const texture = gl.createTexture();
    const lods = Math.floor(Math.log2(Math.max(width, height)));
    try {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, lods + 1, gl.RGBA8, width, height);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      for (const [row, count] of slices(width, height, COPIED)) {
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.pixelStorei(gl.UNPACK_SKIP_ROWS, row);
        gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, width, count, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
        gl.pixelStorei(gl.UNPACK_SKIP_ROWS, 0);
        await this.settled();
        if (!going()) return;
      }
      for (let lod = 1; lod <= lods; lod++) {
        const [wide, high] = [width, height].map((side) => Math.max(1, side >> lod));
        for (const [row, count] of slices(wide, high, REDUCED)) {
          this.reduce(texture, lod, wide, row, count);
          // The small ones are made in one go.
          if (wide * high >= REDUCED / 4) await this.settled();
          if (!going()) return;
        }
      }
      this.bind(texture, 0, lods);
      Object.assign(picture, { texture, lods });
      if (this.slow) return;
      bitmap.close();
      picture.bitmap = null;
    } finally {
      if (picture.texture !== texture) gl.deleteTexture(texture);
    }
  }

  /** Until what was asked for is done: reading a picture before would make the page wait. */
  async settled() {
    const { gl } = this;
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    do await nextFrame();
    while (!this.lost && gl.getSyncParameter(sync, gl.SYNC_STATUS) === gl.UNSIGNALED);
    gl.deleteSync(sync);
  }

  /** A texture with the mipmaps that the sampler may see: while one is written, only the one before it. */
  bind(texture, first, last) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_BASE_LEVEL, first);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, last);
  }

  /** Rows of mipmap `lod`, which is `width` wide, from the one before it. */
  reduce(texture, lod, width, row, count) {
    const { gl } = this;
    gl.useProgram(this.reduceProgram.handle);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, lod);
    this.bind(texture, lod - 1, lod - 1);
    gl.viewport(0, 0, width, row + count);
    gl.scissor(0, row, width, count);
    gl.disable(gl.BLEND);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /**
   * Draws in bands, a step each; all at once where a graphics card does it.
   * @param {CanvasRenderingContext2D} context @param {Layer[]} layers outermost first, with textures
   * @param {boolean} fine by cubic interpolation @param {() => boolean} [wanted]
   */
  async draw(context, layers, fine, wanted) {
    const { canvas, gl } = this;
    const { width, height } = context.canvas;
    if (canvas.width < width) canvas.width = width;
    if (canvas.height < height) canvas.height = height;
    const viewport = [width, height];
    const { handle, set } = fine ? this.fineProgram : this.fastProgram;
    for (const [row, count] of slices(width, height, this.slow ? DRAWN : Infinity)) {
      gl.viewport(0, 0, width, height);
      gl.scissor(0, row, width, count);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.enable(gl.BLEND);
      gl.useProgram(handle);
      for (const { picture, middle, size, opacity, edges, rises, power } of faded(layers, viewport)) {
        const step = Math.sqrt((size[0] * picture.width * size[1] * picture.height) / (width * height));
        const lod = clamp(Math.floor(Math.log2(step)), 0, picture.lods);
        // Magnified pixels are sharpened by less than none of the coarser mipmap, up to twofold; linear interpolation,
        // which blurs by itself, by a little more.
        const ratio = Math.max(0.5, step / 2 ** lod);
        const coarse = lod < picture.lods ? (ratio * ratio - 1) / 3 - (fine ? 0 : 0.2) : 0;
        gl.bindTexture(gl.TEXTURE_2D, picture.texture);
        set({ viewport, middle, size, edges, rises, lod, coarse, opacity, power });
        gl.drawArrays(gl.TRIANGLES, 0, 3);
      }
      if (!this.slow) continue;
      await this.settled();
      if (!wanted()) return;
    }
    context.globalCompositeOperation = "copy";
    context.drawImage(canvas, 0, canvas.height - height, width, height, 0, 0, width, height);
  }
}

/** Rows of a picture, the first and how many, of `most` pixels or one row. */
function* slices(width, height, most) {
  const rows = Math.max(1, Math.floor(most / width));
  for (let row = 0; row < height; row += rows) yield [row, Math.min(rows, height - row)];
}

/** A program, and what sets its uniforms by their names. */
function program(gl, fragment) {
  const handle = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getProgramInfoLog(handle)}`);
  }
  const places = {};
  const set = (values) => {
    for (const name in values) {
      places[name] ??= gl.getUniformLocation(handle, name);
      const numbers = [values[name]].flat();
      gl[`uniform${numbers.length}fv`](places[name], numbers);
    }
  };
  return { handle, set };
}
