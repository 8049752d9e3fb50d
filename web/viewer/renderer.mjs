/**
 * Draws the parts of a view with WebGL2: one context for all viewers of a page, each with a 2D canvas of its own.
 *
 * A level is a texture whose mipmaps follow the pixel model (a pixel is the scene seen through a Gaussian of sigma
 * 0.5 of its width): halving by [1 3 3 1] / 8 per axis adds just the variance that the larger pixel has more. A step of
 * s pixels between two mipmaps is a mixture of both with the variance s asks for.
 *
 * @typedef {import("./fades.mjs").Picture} Picture
 */

import { faded } from "./fades.mjs";

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
uniform vec4 rect;      // left, top, width, height in the level's frame
uniform vec2 viewport;  // pixels
uniform vec4 edge;      // left, right, top, bottom of the level in viewport pixels
uniform vec4 rise;      // over how many pixels it fades in from each edge
uniform float lod;
uniform float coarse;   // share of the next mipmap
uniform float opacity;
uniform float power;
out vec4 color;

vec3 linear(vec2 at, float level) {
  return textureLod(source, at, level).rgb;
}

// Keys' cubic of a = -0.75, for distances up to 2.
vec2 weights(vec2 d) {
  d = abs(d);
  vec2 near = (1.25 * d - 2.25) * d * d + 1.0;
  vec2 far = -0.75 * (((d - 5.0) * d + 8.0) * d - 4.0);
  return mix(near, far, step(1.0, d));
}

vec3 cubic(vec2 at, float level) {
  ivec2 size = textureSize(source, int(level));
  vec2 position = at * vec2(size) - 0.5;
  vec3 sum = vec3(0.0);
  for (int i = 0; i < 16; i++) {
    vec2 texel = floor(position) + vec2(i & 3, i >> 2) - 1.0;
    vec2 weight = weights(position - texel);
    sum += weight.x * weight.y * texelFetch(source, clamp(ivec2(texel), ivec2(0), size - 1), int(level)).rgb;
  }
  return sum;
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, viewport.y - gl_FragCoord.y);
  vec4 inside = vec4(pixel.x - edge.x, edge.y - pixel.x, pixel.y - edge.z, edge.w - pixel.y);
  vec4 wide = max(rise, 1.0);
  vec4 reached = clamp((inside - 0.5 * rise + 0.5 * wide) / wide, 0.0, 1.0);
  vec2 weight = min(reached.xz, reached.yw);
  weight = pow(weight * weight * (3.0 - 2.0 * weight), vec2(power));
  vec2 at = rect.xy + pixel / viewport * rect.zw;
  vec3 near = mix(SAMPLE(at, lod), SAMPLE(at, lod + 1.0), coarse);
  float alpha = opacity * weight.x * weight.y;
  color = vec4(clamp(near, 0.0, 1.0) * alpha, alpha);
}`;

const UNIFORMS = ["rect", "viewport", "edge", "rise", "lod", "coarse", "opacity", "power"];

export class WebGLRenderer {
  /** @param {() => void} onChange called when the context is lost or back: all pictures have to be made anew */
  constructor(onChange) {
    this.canvas = document.createElement("canvas");
    // A view at rest may be drawn in several frames.
    const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true };
    const gl = /** @type {WebGL2RenderingContext | null} */ (this.canvas.getContext("webgl2", options));
    if (!gl) throw new Error("no WebGL2");
    const named = gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER;
    /** Whether the processor draws in place of a graphics card. */
    this.slow = SOFTWARE.test(gl.getParameter(named));
    this.gl = gl;
    this.lost = false;
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

  /** A program a step: compiling takes a while. */
  *prepare() {
    const { gl } = this;
    this.framebuffer = gl.createFramebuffer();
    this.largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.enable(gl.SCISSOR_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.reduceProgram = program(gl, REDUCE, []);
    yield;
    // Two programs, not a branch: where the processor draws, it would work out both of its sides.
    this.fineProgram = program(gl, DRAW.replaceAll("SAMPLE", "cubic"), UNIFORMS);
    yield;
    if (!this.slow) this.fastProgram = program(gl, DRAW.replaceAll("SAMPLE", "linear"), UNIFORMS);
  }

  /** Gives a picture its texture, in slices, one a step. @param {Picture} picture */
  *upload(picture) {
    const { gl } = this;
    const { bitmap, width, height } = picture;
    const texture = gl.createTexture();
    const lods = Math.floor(Math.log2(Math.max(width, height)));
    let whole = false;
    try {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, lods + 1, gl.RGBA8, width, height);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      const rows = Math.max(1, Math.floor(COPIED / width));
      for (let row = 0; row < height; row += rows) {
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.pixelStorei(gl.UNPACK_SKIP_ROWS, row);
        const count = Math.min(rows, height - row);
        gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, width, count, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
        gl.pixelStorei(gl.UNPACK_SKIP_ROWS, 0);
        yield* this.settled();
      }
      for (let lod = 1; lod <= lods; lod++) {
        const size = [Math.max(1, width >> lod), Math.max(1, height >> lod)];
        const lines = Math.max(1, Math.floor(REDUCED / size[0]));
        for (let line = 0; line < size[1]; line += lines) {
          this.reduce(texture, lod, size, line, Math.min(lines, size[1] - line));
          // The small ones are made in one go.
          if (size[0] * size[1] >= REDUCED / 4) yield* this.settled();
        }
      }
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_BASE_LEVEL, 0);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, lods);
      whole = true;
    } finally {
      if (whole) Object.assign(picture, { texture, lods });
      else gl.deleteTexture(texture);
    }
  }

  /** Until what was asked for is done: reading a picture before would make the page wait. */
  *settled() {
    const { gl } = this;
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    do yield;
    while (gl.getSyncParameter(sync, gl.SYNC_STATUS) === gl.UNSIGNALED);
    gl.deleteSync(sync);
  }

  /** Lines of mipmap `lod` from the one before it. @param {number[]} size */
  reduce(texture, lod, size, line, count) {
    const { gl } = this;
    gl.useProgram(this.reduceProgram.handle);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, lod);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    // Only the mipmap that is read may be visible to the sampler.
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_BASE_LEVEL, lod - 1);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, lod - 1);
    gl.viewport(0, 0, size[0], size[1]);
    gl.scissor(0, line, size[0], count);
    gl.disable(gl.BLEND);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /**
   * Draws in bands, one a step: all at once where a graphics card does it.
   * @param {CanvasRenderingContext2D} context of the viewer's canvas
   * @param {import("./fades.mjs").Layer[]} layers outermost first, with textures
   * @param {boolean} fine cubic interpolation, for a view at rest
   */
  *draw(context, layers, fine) {
    const { canvas } = this;
    const { width, height } = context.canvas;
    if (canvas.width < width) canvas.width = width;
    if (canvas.height < height) canvas.height = height;
    const placed = faded(layers, width, height);
    const rows = this.slow ? Math.ceil(DRAWN / width) : height;
    for (let row = 0; row < height; row += rows) {
      this.band(width, height, placed, fine, row, Math.min(row + rows, height));
      if (this.slow) yield* this.settled();
    }
    context.globalCompositeOperation = "copy";
    context.drawImage(canvas, 0, canvas.height - height, width, height, 0, 0, width, height);
  }

  /** The rows from `low` to `high`, counted from below. */
  band(width, height, layers, fine, low, high) {
    const { gl } = this;
    const { handle, at } = fine ? this.fineProgram : this.fastProgram;
    gl.viewport(0, 0, width, height);
    gl.enable(gl.BLEND);
    gl.useProgram(handle);
    gl.uniform2f(at.viewport, width, height);
    gl.scissor(0, low, width, high - low);
    gl.clear(gl.COLOR_BUFFER_BIT);
    for (const { picture, rect, opacity, edges, rises, power, box } of layers) {
      const bottom = Math.max(height - box.top - box.height, low);
      const top = Math.min(height - box.top, high);
      if (top <= bottom) continue;
      gl.scissor(box.left, bottom, box.width, top - bottom);
      const step = Math.sqrt((rect.width * picture.width * rect.height * picture.height) / (width * height));
      const lod = Math.min(Math.max(0, Math.floor(Math.log2(step))), picture.lods);
      // Magnified pixels are sharpened by less than none of the coarser mipmap, up to twofold; linear interpolation,
      // which blurs by itself, by a little more.
      const ratio = Math.max(0.5, step / 2 ** lod);
      const coarse = lod < picture.lods ? (ratio * ratio - 1) / 3 - (fine ? 0 : 0.2) : 0;
      gl.bindTexture(gl.TEXTURE_2D, picture.texture);
      gl.uniform4f(at.rect, rect.left, rect.top, rect.width, rect.height);
      gl.uniform4fv(at.edge, edges);
      gl.uniform4fv(at.rise, rises);
      gl.uniform1f(at.lod, lod);
      gl.uniform1f(at.coarse, coarse);
      gl.uniform1f(at.opacity, opacity);
      gl.uniform1f(at.power, power);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
  }
}

function program(gl, fragment, names) {
  const handle = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getProgramInfoLog(handle)}`);
  }
  return { handle, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(handle, name)])) };
}
