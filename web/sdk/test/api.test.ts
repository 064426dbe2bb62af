import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMeeting, lookup } from "../src/api.ts";
import { MeetingError } from "../src/error.ts";

interface Asked {
  method: string | undefined;
  url: string | undefined;
  headers: Record<string, unknown>;
  body: string;
}

let server: Server;
let base: string;
let asked: Asked[];
let answer: { status: number; type?: string; body: unknown };

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      asked.push({ method: request.method, url: request.url, headers: request.headers, body });
      const token = request.url?.endsWith("/auth/token");
      response.writeHead(token ? 200 : answer.status, { "content-type": answer.type ?? "application/json" });
      response.end(
        token
          ? '{"access_token":"of the host"}'
          : typeof answer.body === "string"
            ? answer.body
            : JSON.stringify(answer.body),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
});

async function failure(promise: Promise<unknown>): Promise<MeetingError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MeetingError);
  return error as MeetingError;
}

describe("api", () => {
  it("makes a meeting", async () => {
    answer = { status: 201, body: { host_key: "h" } };
    const created = await createMeeting({ base, keyInLink: true, title: "Tea", traceparent: "00-a-b-01" });
    expect(created.host_key).toBe("h");
    expect(asked[0]).toMatchObject({ method: "POST", url: "/api/v1/meetings" });
    expect(asked[0]!.headers["traceparent"]).toBe("00-a-b-01");
    expect(JSON.parse(asked[0]!.body)).toEqual({ key_in_link: true, title: "Tea" });
  });

  it("looks up as the host with the host key, else as a guest", async () => {
    answer = { status: 200, body: { role: "host" } };
    await lookup("abc-defg-hij", { base, hostKey: "h" });
    expect(JSON.parse(asked[0]!.body)).toEqual({ grant_type: "host_key", meeting: "abc-defg-hij", host_key: "h" });
    expect(asked[1]!.headers["authorization"]).toBe("Bearer of the host");
    await lookup("abc-defg-hij", { base });
    expect(asked[2]!.headers["authorization"]).toBeUndefined();
  });

  it("turns a problem into a typed error", async () => {
    const problem = {
      type: "about:blank",
      title: "Gone",
      status: 410,
      detail: "over",
      code: "meeting_ended",
      number: 401,
      retryable: false,
      trace_id: "t",
    };
    answer = { status: 410, type: "application/problem+json", body: problem };
    expect(await failure(lookup("abc-defg-hij", { base }))).toMatchObject({
      code: "meeting_ended",
      number: 401,
      retryable: false,
      detail: "over",
    });
  });

  it("survives what is no problem document", async () => {
    answer = { status: 502, type: "text/html", body: "<h1>Bad gateway</h1>" };
    expect(await failure(lookup("x", { base }))).toMatchObject({ code: "unavailable", retryable: true });
    answer = { status: 200, body: "not json" };
    expect(await failure(lookup("x", { base }))).toMatchObject({ code: "internal" });
  });

  it("tells that the service cannot be reached", async () => {
    expect(await failure(lookup("x", { base: "http://127.0.0.1:1" }))).toMatchObject({
      code: "unavailable",
      number: 101,
      retryable: true,
    });
  });
});
