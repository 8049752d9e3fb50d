/** How a viewer looks, in a node and on a page. */

const STYLE = `
.zs-root { --zs-ink: #e8e6e1; --zs-dim: #9a978f; --zs-line: #ffffff1c; --zs-accent: #f2c879; position: relative;
  display: grid; grid-template: minmax(0, 1fr) auto / minmax(0, 1fr) 46px; box-sizing: border-box; width: 100%; height: 100%;
  min-height: 0; overflow: hidden; background: #101114; color: var(--zs-ink); border-radius: 8px;
  font: 13px/1.35 Inter, system-ui, "Segoe UI", sans-serif; -webkit-user-select: none; user-select: none; }
.zs-root * { box-sizing: border-box; }
.zs-stage { grid-area: 1 / 1; position: relative; min-width: 0; min-height: 0; overflow: hidden; cursor: grab; touch-action: none; outline: none; background: #08090b; }
.zs-stage:active { cursor: grabbing; }
.zs-stage > canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.zs-keys .zs-stage:focus-visible::after, .zs-keys .zs-rail:focus-visible::after { content: ""; position: absolute; inset: 0; pointer-events: none;
  box-shadow: inset 0 0 0 2px var(--zs-accent); z-index: 3; }
.zs-message { position: absolute; inset: 0; display: grid; place-content: center; padding: 24px; text-align: center;
  color: var(--zs-dim); pointer-events: none; text-wrap: balance; }
.zs-message.zs-note { inset: auto 0 0; padding: 6px 12px; color: var(--zs-ink); background: #000000a8; font-size: 12px; }
.zs-message:empty { display: none; }
.zs-hint { position: absolute; left: 50%; top: 10px; transform: translateX(-50%); padding: 3px 10px; border-radius: 20px; font-size: 11px;
  background: #000000a0; color: #fff; opacity: 0; transition: opacity 0.25s; pointer-events: none; white-space: nowrap; }
.zs-stage:hover > .zs-hint.zs-on { opacity: 1; }
.zs-rail { position: relative; grid-area: 1 / 2; display: flex; flex-direction: column; min-height: 0; overflow: hidden; cursor: pointer;
  outline: none; touch-action: none; background: #0b0c0e; border-left: 1px solid var(--zs-line); }
.zs-cell { position: relative; flex: 1 1 0; min-height: 0; display: flex; align-items: center; overflow: hidden; opacity: 0.55; transition: opacity 0.2s; }
.zs-cell:hover { opacity: 0.85; }
.zs-cell.zs-here { opacity: 1; }
.zs-cell + .zs-cell { border-top: 1px solid #08090b; }
.zs-cell > canvas { width: 46px; height: 100%; flex: none; object-fit: cover; background: #17191d; }
.zs-cell > span { display: none; }
.zs-missing > canvas { background: repeating-linear-gradient(45deg, #1c1e22 0 4px, #121316 4px 8px); }
.zs-marker { position: absolute; left: 0; right: 0; height: 2px; margin-top: -1px; background: var(--zs-accent); box-shadow: 0 0 6px #000; pointer-events: none; }
.zs-marker::before { content: ""; position: absolute; left: 0; top: -4px; border: 5px solid transparent; border-left-color: var(--zs-accent); }
.zs-bar { grid-area: 2 / 1 / 3 / 3; display: flex; align-items: center; gap: 4px; min-width: 0; padding: 5px 6px; border-top: 1px solid var(--zs-line); }
.zs-bar button { all: unset; box-sizing: border-box; flex: none; display: inline-grid; place-items: center; min-width: 30px; height: 30px; padding: 0 4px;
  border-radius: 6px; color: var(--zs-dim); cursor: pointer; font: 600 12px/1 inherit; font-family: inherit; font-variant-numeric: tabular-nums; }
.zs-bar button:hover { color: var(--zs-ink); background: #ffffff12; }
.zs-bar button:focus-visible { box-shadow: inset 0 0 0 2px var(--zs-accent); color: var(--zs-ink); }
.zs-bar svg { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
.zs-bar svg.zs-solid { fill: currentColor; }
.zs-read { flex: 1 1 auto; min-width: 0; min-height: 2.7em; padding: 0 6px; display: flex; flex-direction: column; justify-content: center; }
.zs-read > div { display: flex; gap: 8px; align-items: baseline; white-space: nowrap; font-variant-numeric: tabular-nums; }
.zs-scale { font-weight: 600; }
.zs-level { color: var(--zs-dim); font-size: 12px; overflow: hidden; text-overflow: ellipsis; }
.zs-prompt { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; color: var(--zs-dim); font-size: 12px; }
.zs-prompt:empty { display: none; }
.zs-live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.zs-bare .zs-rail, .zs-bare .zs-bar { display: none; }
.zs-bare { grid-template-columns: minmax(0, 1fr) 0; }
.zs-dialog { all: revert; position: fixed; inset: 0; width: 100vw; height: 100vh; height: 100dvh; max-width: none; max-height: none; margin: 0; padding: 0; border: 0; background: #000; }
.zs-dialog .zs-root, .zs-wide { border-radius: 0; grid-template-columns: minmax(0, 1fr) 240px; }
.zs-dialog .zs-cell > canvas, .zs-wide .zs-cell > canvas { width: 64px; }
.zs-dialog .zs-cell > span, .zs-wide .zs-cell > span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; flex: 1;
  padding: 0 10px 0 12px; font-size: 12px; line-height: 1.3; color: var(--zs-ink); unicode-bidi: plaintext; overflow-wrap: anywhere; }
.zs-dialog .zs-marker, .zs-wide .zs-marker { right: auto; width: 64px; }
.zs-dialog .zs-root.zs-plain, .zs-plain.zs-wide { grid-template-columns: minmax(0, 1fr) 64px; }
.zs-root.zs-plain .zs-cell > span { display: none; }
.zs-root .zs-dense .zs-cell > span { display: none; }
.zs-root .zs-dense .zs-cell > canvas { width: 100%; }
.zs-root .zs-dense .zs-cell + .zs-cell { border-top: 0; }
.zs-dialog .zs-bar, .zs-wide .zs-bar { padding: 8px 12px; gap: 8px; }
.zs-dialog .zs-prompt, .zs-wide .zs-prompt { font-size: 13px; white-space: normal; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
@media (max-width: 700px) {
  .zs-dialog .zs-root, .zs-wide { grid-template-columns: minmax(0, 1fr) 46px; }
  .zs-root .zs-cell > canvas { width: 46px; }
  .zs-root .zs-cell > span { display: none; }
}
@media (prefers-reduced-motion: reduce) { .zs-root * { transition: none !important; } }
`;

let sheet = null;

/** Make the style known to the document, once. */
export function installStyle() {
  if (sheet) return;
  sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
