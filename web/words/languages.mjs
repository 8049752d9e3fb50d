/**
 * What the viewer and the editor say, one module a language. Where one lacks words, English is spoken: errors are the
 * server's own sentences (zoom_core/prompts.py and levels.py), which are English.
 * @module
 */

import { speak as speakEditor } from "../editor/words.mjs";
import { speak as speakViewer } from "../viewer/words.mjs";
import english from "./en.mjs";

/** @typedef {Record<"viewer" | "editor", Record<string, string>>} Words */

const LANGUAGES = ["zh", "zh-TW", "ja", "ko", "es", "pt-BR", "ru", "fr", "ar", "tr", "fa", "he"];

/**
 * The words of a language; English for one that is not here.
 * @param {string} language as ComfyUI's setting Comfy.Locale has it
 * @returns {Promise<Words>}
 */
export async function words(language) {
  if (!LANGUAGES.includes(language)) return english;
  return (await import(`./${language}.mjs`)).default;
}

/** @param {Words} words */
function say({ viewer, editor }) {
  speakViewer({ ...english.viewer, ...viewer });
  speakEditor({ ...english.editor, ...editor });
}

/**
 * Say all in a language from now on.
 * @param {string} language
 */
export async function speak(language) {
  say(await words(language));
}

// Until a language has been chosen.
say(english);
