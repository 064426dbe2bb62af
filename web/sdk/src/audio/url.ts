/// <reference path="../bundler.d.ts" />
/** Where the audio thread's module is served: bundled on its own. */
import url from "./worklet.ts?worker&url";

export const workletUrl: string = url;
