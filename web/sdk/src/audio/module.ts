/** The compiled `sound.wasm`, fetched when it is first asked for. */
let module: Promise<WebAssembly.Module> | undefined;

export function soundModule(): Promise<WebAssembly.Module> {
  module ??= WebAssembly.compileStreaming(fetch(new URL("../sound.wasm", import.meta.url)));
  return module;
}
