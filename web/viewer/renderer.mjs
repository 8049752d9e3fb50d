/**
 * Draws the parts of a view with WebGL2: one context for all viewers of a page, each with a 2D canvas of its own.
 *
 * A level is a texture whose mipmaps follow the pixel model (a pixel is the scene seen through a Gaussian of sigma
 * 0.5 of its width): halving by [1 3 3 1] / 8 per axis adds just the variance that the larger pixel has more. A step of
 * s pixels between two mipmaps is a mixture of both with the variance s asks for.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Rect
 * @typedef {{picture: Picture, rect: Rect, opacity: number, base: boolean}} Layer  a picture and the rectangle of its
 *     frame that fills the viewport; base: the outermost one, which has nothing to fade into
 * @typedef {{width: number, height: number, ready: boolean, steps: Generator<void>, free: () => void}} Picture
 */

// As in zoom_core/compose.py: a level fades in over this share of its own size, more where the level around it is
// magnified, but over no more than a share of what is visible around it.
const FADE = 0.04;
const RAMP = 0.3;
const FADE_OF_MARGIN = 0.5;
const RAMP_OF_MARGIN = 1;
const RAMP_POWER = 1.5;
// Pixels uploaded or reduced at a time, so that no frame waits for a large level.
const SLICE = 1 << 18;

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

const REDUCE = `#version 300 es
precision highp float;
uniform sampler2D source;
uniform vec2 size;
uniform vec2 texel;
uniform float lod;
out vec4 color;
void main() {
  // Two bilinear taps an axis, three quarters of a texel from the middle, weigh four texels 1 3 3 1.
  vec2 middle = gl_FragCoord.xy / size;
  vec2 tap = 0.75 * texel;
  color = 0.25 * (textureLod(source, middle - tap, lod) + textureLod(source, middle + tap, lod) +
    textureLod(source, middle + vec2(tap.x, -tap.y), lod) + textureLod(source, middle + vec2(-tap.x, tap.y), lod));
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

vec3 cubic(vec2 at, float level) {
  vec2 size = vec2(textureSize(source, int(level)));
  vec2 position = at * size - 0.5;
  vec2 f = fract(position);
  vec2 base = floor(position) + 0.5;
  const float a = -0.75;
  vec2 g = f + 1.0, h = 1.0 - f, k = 2.0 - f;
  vec2 w0 = a * (g * g * g - 5.0 * g * g + 8.0 * g - 4.0);
  vec2 w1 = ((a + 2.0) * f - (a + 3.0)) * f * f + 1.0;
  vec2 w2 = ((a + 2.0) * h - (a + 3.0)) * h * h + 1.0;
  vec2 w3 = a * (k * k * k - 5.0 * k * k + 8.0 * k - 4.0);
  vec2 w12 = w1 + w2;
  vec2 p0 = (base - 1.0) / size, p12 = (base + w2 / w12) / size, p3 = (base + 2.0) / size;
  return w0.y * (w0.x * textureLod(source, p0, level).rgb
      + w12.x * textureLod(source, vec2(p12.x, p0.y), level).rgb
      + w3.x * textureLod(source, vec2(p3.x, p0.y), level).rgb)
    + w12.y * (w0.x * textureLod(source, vec2(p0.x, p12.y), level).rgb
      + w12.x * textureLod(source, p12, level).rgb
      + w3.x * textureLod(source, vec2(p3.x, p12.y), level).rgb)
    + w3.y * (w0.x * textureLod(source, vec2(p0.x, p3.y), level).rgb
      + w12.x * textureLod(source, vec2(p12.x, p3.y), level).rgb
      + w3.x * textureLod(source, p3, level).rgb);
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

/**
 * A level's edges in the viewport, and the pixels over which it fades in from each: left, right, top, bottom.
 * @param {number} magnified 0 where the level around it has pixels enough, 1 where it is magnified twofold or more
 */
export function borders(rect, width, height, magnified) {
  const sizeX = width / rect.width;
  const sizeY = height / rect.height;
  const left = -rect.left * sizeX;
  const top = -rect.top * sizeY;
  const edges = [left, left + sizeX, top, top + sizeY];
  const margins = [left, width - left - sizeX, top, height - top - sizeY];
  const rises = margins.map((margin, i) => {
    const size = i < 2 ? sizeX : sizeY;
    const room = Math.max(margin, 0);
    const fade = Math.min(FADE * size, FADE_OF_MARGIN * room);
    return fade + (Math.min(RAMP * size, RAMP_OF_MARGIN * room) - fade) * magnified;
  });
  return { edges, rises };
}

/** 0 where a pixel of the viewport holds a pixel of the picture or more, 1 where it holds half of one or less. */
function magnification({ picture, rect }, width) {
  const u = Math.min(Math.max(-Math.log2((rect.width * picture.width) / width), 0), 1);
  return u * u * (3 - 2 * u);
}

export class WebGLRenderer {
  /** @param {() => void} onChange called when the context is lost or back: all pictures have to be made anew */
  constructor(onChange) {
    this.canvas = document.createElement("canvas");
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.lost = false;
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.lost = true;
      onChange();
    });
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      this.lost = false;
      onChange();
    });
    this.prepare();
  }

  prepare() {
    const gl = this.gl;
    this.reduceProgram = program(gl, REDUCE, ["source", "size", "texel", "lod"]);
    // Two programs, not a branch: where the processor draws, it would work out both of its sides.
    const names = ["source", "rect", "viewport", "edge", "rise", "lod", "coarse", "opacity", "power"];
    this.fastProgram = program(gl, DRAW.replaceAll("SAMPLE", "linear"), names);
    this.fineProgram = program(gl, DRAW.replaceAll("SAMPLE", "cubic"), names);
    this.framebuffer = gl.createFramebuffer();
    this.largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /**
   * A level's picture; `steps` does the work in slices, one a call, and closes the bitmap at the end.
   * @param {ImageBitmap} bitmap @returns {Picture}
   */
  picture(bitmap) {
    const { width, height } = bitmap;
    const gl = this.gl;
    const texture = gl.createTexture();
    const lods = Math.floor(Math.log2(Math.max(width, height)));
    const picture = {
      width,
      height,
      texture,
      lods,
      ready: false,
      steps: this.fill(bitmap, texture, lods, () => {
        picture.ready = true;
      }),
      free: () => {
        picture.ready = false;
        bitmap.close();
        gl.deleteTexture(texture);
      },
    };
    return picture;
  }

  *fill(bitmap, texture, lods, done) {
    const gl = this.gl;
    const { width, height } = bitmap;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, lods + 1, gl.RGBA8, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    const rows = Math.max(1, Math.floor(SLICE / width));
    for (let row = 0; row < height; row += rows) {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.pixelStorei(gl.UNPACK_SKIP_ROWS, row);
      const count = Math.min(rows, height - row);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, width, count, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
      gl.pixelStorei(gl.UNPACK_SKIP_ROWS, 0);
      yield;
    }
    bitmap.close();
    for (let lod = 1; lod <= lods; lod++) {
      const size = [Math.max(1, width >> lod), Math.max(1, height >> lod)];
      const lines = Math.max(1, Math.floor(SLICE / size[0]));
      for (let line = 0; line < size[1]; line += lines) {
        this.reduce(texture, lod, size, [width, height], line, Math.min(lines, size[1] - line));
        // The small ones are made in one go.
        if (size[0] * size[1] >= SLICE / 8) yield;
      }
    }
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_BASE_LEVEL, 0);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, lods);
    done();
  }

  /** Lines of mipmap `lod` from the one before it. */
  reduce(texture, lod, size, full, line, count) {
    const gl = this.gl;
    const { handle, at } = this.reduceProgram;
    gl.useProgram(handle);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, lod);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    // Only the mipmap that is read may be visible to the sampler.
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_BASE_LEVEL, lod - 1);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, lod - 1);
    gl.viewport(0, 0, size[0], size[1]);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, line, size[0], count);
    gl.disable(gl.BLEND);
    gl.uniform1i(at.source, 0);
    gl.uniform2f(at.size, size[0], size[1]);
    gl.uniform2f(at.texel, 1 / Math.max(1, full[0] >> (lod - 1)), 1 / Math.max(1, full[1] >> (lod - 1)));
    // Level of detail counts from the base level.
    gl.uniform1f(at.lod, 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /**
   * @param {CanvasRenderingContext2D} context of the viewer's canvas, width x height pixels
   * @param {Layer[]} layers outermost first
   * @param {boolean} fine cubic interpolation, for a view at rest
   */
  draw(context, width, height, layers, fine) {
    const gl = this.gl;
    const canvas = this.canvas;
    if (canvas.width < width || canvas.height < height) {
      canvas.width = Math.max(canvas.width, width);
      canvas.height = Math.max(canvas.height, height);
    }
    const { handle, at } = fine ? this.fineProgram : this.fastProgram;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.useProgram(handle);
    gl.uniform1i(at.source, 0);
    gl.uniform2f(at.viewport, width, height);
    for (const [i, { picture, rect, opacity, base }] of layers.entries()) {
      const magnified = i ? magnification(layers[i - 1], width) : 0;
      const { edges, rises } = borders(rect, width, height, magnified);
      const low = [Math.floor(edges[0]) - 1, Math.floor(height - edges[3]) - 1];
      const high = [Math.ceil(edges[1]) + 1, Math.ceil(height - edges[2]) + 1];
      const from = low.map((value) => Math.max(value, 0));
      const to = [Math.min(high[0], width), Math.min(high[1], height)];
      if (to[0] <= from[0] || to[1] <= from[1]) continue;
      gl.scissor(from[0], from[1], to[0] - from[0], to[1] - from[1]);
      const step = Math.sqrt((rect.width * picture.width * rect.height * picture.height) / (width * height));
      const lod = Math.min(Math.max(0, Math.floor(Math.log2(step))), picture.lods);
      // Magnified pixels are sharpened by less than none of the coarser mipmap, up to twofold; linear interpolation,
      // which blurs by itself, by a little more.
      const ratio = Math.max(0.5, step / 2 ** lod);
      const coarse = lod < picture.lods ? (ratio * ratio - 1) / 3 - (fine ? 0 : 0.2) : 0;
      gl.bindTexture(gl.TEXTURE_2D, picture.texture);
      gl.uniform4f(at.rect, rect.left, rect.top, rect.width, rect.height);
      gl.uniform4f(at.edge, ...edges);
      gl.uniform4f(at.rise, ...(base ? [0, 0, 0, 0] : rises));
      gl.uniform1f(at.lod, lod);
      gl.uniform1f(at.coarse, coarse);
      gl.uniform1f(at.opacity, opacity);
      gl.uniform1f(at.power, 1 + (RAMP_POWER - 1) * magnified);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
    context.globalCompositeOperation = "copy";
    context.drawImage(canvas, 0, canvas.height - height, width, height, 0, 0, width, height);
  }
}

/** The same with the browser's own scaling, where there is no WebGL2. */
export class FlatRenderer {
  constructor() {
    this.largest = 4096;
    this.lost = false;
  }

  /** @param {ImageBitmap} bitmap @returns {Picture} */
  picture(bitmap) {
    const picture = {
      width: bitmap.width,
      height: bitmap.height,
      bitmap,
      ready: false,
      steps: (function* once() {
        picture.ready = true;
      })(),
      free: () => {
        picture.ready = false;
        bitmap.close();
      },
    };
    return picture;
  }

  draw(context, width, height, layers) {
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    for (const { picture, rect, opacity } of layers) {
      const left = Math.max(rect.left, 0);
      const top = Math.max(rect.top, 0);
      const right = Math.min(rect.left + rect.width, 1);
      const bottom = Math.min(rect.top + rect.height, 1);
      if (right <= left || bottom <= top) continue;
      context.globalAlpha = opacity;
      context.drawImage(
        picture.bitmap,
        left * picture.width,
        top * picture.height,
        (right - left) * picture.width,
        (bottom - top) * picture.height,
        ((left - rect.left) / rect.width) * width,
        ((top - rect.top) / rect.height) * height,
        ((right - left) / rect.width) * width,
        ((bottom - top) / rect.height) * height,
      );
    }
    context.globalAlpha = 1;
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
