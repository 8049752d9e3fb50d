/**
 * What the viewer and the editor say in ComfyUI's other languages, one module each. Errors keep the server's English.
 * @module
 */

export const LANGUAGES = ["zh", "zh-TW", "ja", "ko", "es", "pt-BR", "ru", "fr", "ar", "tr", "fa", "he"];

/**
 * The words of a language; none for English and for one that is not here.
 * @param {string} language as ComfyUI's setting Comfy.Locale has it
 * @returns {Promise<{viewer: Record<string, string>, editor: Record<string, string>}>}
 */
export async function words(language) {
  if (!LANGUAGES.includes(language)) return { viewer: {}, editor: {} };
  return (await import(`./${language}.mjs`)).default;
}
