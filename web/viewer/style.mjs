/** How a viewer looks, in a node and (zs-wide) as large as the window. */

export const sheet = new CSSStyleSheet();
sheet.replaceSync(`
.zs-root { --ink: #e8e6e1; --dim: #9a978f; --line: #ffffff1c; --accent: #f2c879; --cell: 46px; position: relative; display: grid;
  grid-template: minmax(0, 1fr) auto / minmax(0, 1fr) auto; height: 100%; overflow: hidden; background: #101114;
  color: var(--ink); border-radius: 8px; font: 13px/1.35 Inter, system-ui, sans-serif;
  -webkit-user-select: none; user-select: none; }
.zs-root * { box-sizing: border-box; }
.zs-stage, .zs-rail { position: relative; overflow: hidden; touch-action: none; outline: none; }
.zs-stage { cursor: grab; background: #08090b; }
.zs-stage:active { cursor: grabbing; }
.zs-stage > canvas { position: absolute; width: 100%; height: 100%; }
.zs-message, .zs-hint, .zs-marker, .zs-keys > :focus-visible::after { position: absolute; pointer-events: none; }
.zs-keys > :focus-visible::after { content: ""; inset: 0; z-index: 1; box-shadow: inset 0 0 0 2px var(--accent); }
.zs-message { inset: 0; display: grid; place-content: center; padding: 24px; text-align: center; text-wrap: balance; color: var(--dim); }
.zs-message.zs-note { inset: auto 0 0; padding: 6px 12px; font-size: 12px; color: var(--ink); background: #000000a8; }
.zs-message:empty, .zs-prompt:empty, .zs-bare .zs-bar, .zs-bar [hidden] { display: none; }
.zs-hint { left: 50%; top: 10px; translate: -50%; padding: 3px 10px; border-radius: 20px; font-size: 11px; white-space: nowrap;
  color: #fff; background: #000000a0; opacity: 0; transition: opacity 0.25s; }
.zs-root:not(.zs-bare, :focus-within, .zs-wide > *) > .zs-stage:hover > .zs-hint { opacity: 1; }
.zs-rail { width: var(--cell); display: flex; flex-direction: column; cursor: pointer; background: #0b0c0e;
  border-left: 1px solid var(--line); }
.zs-cell { container-type: size; flex: 1; display: flex; align-items: center; overflow: hidden; opacity: 0.55; transition: opacity 0.2s; }
.zs-cell:hover { opacity: 0.85; }
.zs-cell.zs-here { opacity: 1; }
.zs-cell > canvas { width: var(--cell); height: 100%; flex: none; object-fit: cover; background: #17191d; border-top: 1px solid #08090b; }
.zs-cell > span, .zs-level, .zs-prompt { overflow: hidden; font-size: 12px; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.zs-cell > span { display: none; flex: 1; padding: 0 10px 0 12px; line-height: 1.3; overflow-wrap: anywhere; }
.zs-missing > canvas { background: repeating-linear-gradient(45deg, #1c1e22 0 4px, #121316 4px 8px); }
.zs-marker { left: 0; width: var(--cell); height: 2px; margin-top: -1px; background: var(--accent); box-shadow: 0 0 6px #000; }
.zs-marker::before { content: ""; position: absolute; top: -4px; border: 5px solid transparent; border-left-color: var(--accent); }
.zs-bar { grid-column: 1 / 3; display: flex; align-items: center; gap: 4px; min-width: 0; padding: 5px 6px; border-top: 1px solid var(--line); }
.zs-bar button { all: unset; box-sizing: border-box; flex: none; display: grid; place-items: center; min-width: 30px; height: 30px;
  padding: 0 4px; border-radius: 6px; color: var(--dim); cursor: pointer; font-weight: 600; font-size: 12px; line-height: 1; }
.zs-bar button:hover { color: var(--ink); background: #ffffff12; }
.zs-bar button:focus-visible { color: var(--ink); box-shadow: inset 0 0 0 2px var(--accent); }
.zs-bar svg { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
.zs-bar button:first-child svg { fill: currentColor; }
.zs-read { flex: 1; min-width: 0; min-height: 2.7em; padding: 0 6px; display: flex; flex-direction: column; justify-content: center;
  white-space: nowrap; }
.zs-read > div { display: flex; gap: 8px; align-items: baseline; font-variant-numeric: tabular-nums; }
.zs-scale { font-weight: 600; }
.zs-level, .zs-prompt { text-overflow: ellipsis; color: var(--dim); }
.zs-live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.zs-dialog { all: revert; width: 100vw; height: 100dvh; max-width: none; max-height: none; margin: 0; padding: 0; border: 0; }
.zs-wide > .zs-root { border-radius: 0; }
.zs-wide .zs-bar { padding: 8px 12px; gap: 8px; }
.zs-wide .zs-prompt { font-size: 13px; white-space: normal; display: -webkit-box; }
@media (min-width: 700px) {
  .zs-wide > .zs-root { --cell: 64px; }
  .zs-wide > :not(.zs-plain) > .zs-rail { width: 240px; }
  .zs-wide > :not(.zs-plain) .zs-cell > span { display: -webkit-box; }
}
@container (max-height: 29px) {
  .zs-cell > span { -webkit-line-clamp: 1; font-size: 11px; }
  .zs-cell > canvas { border: 0; }
}
@container (max-height: 14px) {
  .zs-cell > span { display: none !important; }
  .zs-cell > canvas { width: 100%; }
}
@media (prefers-reduced-motion: reduce) { .zs-root * { transition: none; } }
`);
