/** Vite: the address of a module bundled on its own. */
declare module "*?worker&url" {
  const url: string;
  export default url;
}
