/** Pages with made-up people, to look at without a server: /dev/gallery.html?show=meeting&n=4 */
import { mount } from "svelte";
import "../src/app.css";
import { navigation } from "../src/lib/place.svelte.ts";
import CallPages from "../src/pages/CallPages.svelte";
import Start from "../src/pages/Start.svelte";
import { DemoCall } from "./demo-call.svelte.ts";

const query = new URLSearchParams(location.search);
const show = query.get("show") ?? "meeting";
const target = document.getElementById("app")!;

if (show === "start") {
  mount(Start, { target });
} else {
  const call = new DemoCall(
    show,
    Number(query.get("n") ?? 4),
    Number(query.get("screen") ?? 0),
    query.get("code") ?? "meeting_full",
  );
  Object.assign(globalThis, { demo: call });
  mount(CallPages, { target, props: { call, code: "abc-defg-hij", again: () => navigation.again() } });
}
