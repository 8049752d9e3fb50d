/**
 * The editor's looks, in ComfyUI's own colours.
 * @module
 */

const CSS = `
.zse { display: flex; flex-direction: column; gap: 6px; box-sizing: border-box; overflow: hidden; contain: size;
  color: var(--input-text, #ddd); font: 12px/1.4 Inter, Arial, sans-serif; text-align: start; }
.zse *, .zse *::before, .zse *::after { box-sizing: border-box; }
.zse [hidden] { display: none !important; }
.zse p { margin: 0; }
.zse-head { display: flex; gap: 6px; align-items: center; flex: none; }
.zse-count { flex: 1; opacity: .7; overflow: hidden; max-height: 2.4em; line-height: 1.2; }
.zse button { color: inherit; font: inherit; background: none; border: 1px solid transparent; border-radius: 4px;
  padding: 2px 8px; cursor: pointer; }
.zse-head button, .zse-tools button { border-color: var(--border-color, #4e4e4e); white-space: nowrap; }
.zse button:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
.zse :focus-visible { outline: 2px solid var(--p-primary-color, #60a5fa); outline-offset: -1px; }
.zse-rows { list-style: none; margin: 0; padding: 0; flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain;
  scrollbar-width: thin; }
.zse-row { display: grid; grid-template-columns: auto auto minmax(0, 1fr) auto; align-items: center; gap: 0 6px;
  padding: 2px 0; border-block: 1px solid transparent; }
.zse-row + .zse-row { border-top-color: color-mix(in srgb, currentColor 8%, transparent); }
.zse-row.zse-above { box-shadow: 0 2px 0 var(--p-primary-color, #60a5fa) inset; }
.zse-row.zse-below { box-shadow: 0 -2px 0 var(--p-primary-color, #60a5fa) inset; }
.zse-row.zse-dragged { opacity: .5; }
.zse button.zse-grip { min-width: 34px; padding: 4px; opacity: .6; cursor: grab; touch-action: none; text-align: end;
  font-variant-numeric: tabular-nums; }
.zse button.zse-grip::before { content: "⠿"; float: inline-start; opacity: .5; font-size: 10px; line-height: 17px; }
.zse-row:hover .zse-grip, .zse-grip:focus-visible { opacity: 1; }
.zse-thumb { width: 32px; height: 32px; object-fit: cover; border-radius: 3px; }
.zse-body { grid-column: 3; min-width: 0; }
.zse-grow { display: grid; }
.zse-grow::after { content: attr(data-text) " "; visibility: hidden; white-space: pre-wrap; overflow-wrap: anywhere; }
.zse-grow > textarea, .zse-grow::after { grid-area: 1 / 1; font: inherit; padding: 5px 8px; max-height: 96px; min-height: 28px;
  border: 1px solid transparent; }
.zse-grow > textarea, .zse-field input { width: 100%; color: inherit; font: inherit; resize: none; overflow: auto;
  scrollbar-width: thin; border-radius: 4px; background: var(--comfy-input-bg, #222); }
.zse-field input { padding: 4px 8px; border: 1px solid transparent; }
.zse [aria-invalid="true"] { border-color: var(--error-text, #ff6b6b) !important; }
.zse ::placeholder { color: inherit; opacity: .4; }
.zse-problem { color: var(--error-text, #ff6b6b); padding: 2px 0; overflow-wrap: anywhere; flex: none; }
.zse button.zse-chip { grid-column: 4; display: flex; gap: 6px; align-items: center; min-height: 28px; padding: 2px 6px;
  font-variant-numeric: tabular-nums; }
.zse-chip[aria-expanded="true"] { background: color-mix(in srgb, currentColor 12%, transparent); }
.zse-chip .zse-taken { opacity: .55; }
.zse-chip > i { position: relative; width: 20px; height: 20px; border-radius: 2px; overflow: hidden;
  background: color-mix(in srgb, currentColor 22%, transparent); }
.zse-chip > i > i { position: absolute; min-width: 3px; min-height: 3px; background: var(--p-primary-color, #60a5fa); }
.zse-details { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 10px; padding: 8px 6px 10px 40px; }
.zse-details > div:first-child:not(:last-child) { flex: 0 1 220px; min-width: 150px; }
.zse-fields { flex: 1 1 180px; min-width: 0; display: flex; flex-direction: column; gap: 8px; }
.zse-numbers { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px; }
.zse-field { display: block; opacity: .9; }
.zse-field > * { margin-top: 2px; }
.zse-hint { opacity: .55; font-size: 11px; padding-top: 4px; }
.zse-tools { display: flex; gap: 6px; }
.zse .zse-remove:hover { color: var(--error-text, #ff6b6b); }
.zse-placing { position: relative; overflow: hidden; border-radius: 4px; min-height: 60px; user-select: none;
  background: var(--comfy-input-bg, #222); }
.zse-placing > img { display: block; width: 100%; }
.zse-placing > p { aspect-ratio: 1; padding: 12px; opacity: .5; display: grid; place-items: end center; text-align: center; }
.zse-frame { position: absolute; cursor: move; touch-action: none; border: 1.5px solid #fff; border-radius: 1px;
  box-shadow: 0 0 0 1px rgb(0 0 0 / .6), 0 0 0 999px rgb(0 0 0 / .35); }
.zse-corner { position: absolute; width: 12px; height: 12px; touch-action: none; }
.zse-corner::after { content: ""; position: absolute; inset: 3px; background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .6); }
.zse-corner.x0 { left: -6px; } .zse-corner.x1 { right: -6px; } .zse-corner.y0 { top: -6px; } .zse-corner.y1 { bottom: -6px; }
.zse-corner.x0.y0, .zse-corner.x1.y1 { cursor: nwse-resize; } .zse-corner.x1.y0, .zse-corner.x0.y1 { cursor: nesw-resize; }
.zse-live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

/** Put the style into the page, once. */
export function addStyle() {
  if (document.getElementById("zoom-stack-editor-style")) return;
  const style = document.createElement("style");
  style.id = "zoom-stack-editor-style";
  style.textContent = CSS;
  document.head.append(style);
}
