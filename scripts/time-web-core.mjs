#!/usr/bin/env node
// How long the browser's core takes to join: an entry into groups of several sizes, each in a fresh instance as a page
// has one. Prints one line for each size; `--cpu-prof` of node tells where the time goes.
//
//   node scripts/time-web-core.mjs [MODULE] [ROUNDS]
import { randomBytes, randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const [path = fileURLToPath(new URL('../web/sdk/src/core.wasm', import.meta.url)), rounds = '9'] = process.argv.slice(2);
const SIZES = [1, 10, 30, 100];
/** Field numbers of `ClientMessage`, `Join` and `KeyCommit` (proto/signal/v1/signal.proto). */
const JOIN = 11;
const JOIN_KEY = 3;
const KEY_GROUP_INFO = 3;
const [WRITE, SIGNAL] = [5, 0];

const file = readFileSync(path);
const module = new WebAssembly.Module(file);
const meeting = randomBytes(16).toString('hex');
const secret = randomBytes(16).toString('base64url');

/** The last bytes field of this number in a protobuf message. */
function field(message, wanted) {
  let at = 0;
  let found;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const [number, type] = [Math.floor(tag / 8), tag % 8];
    if (type === 0) varint();
    else if (type === 2) {
      const length = varint();
      if (number === wanted) found = message.subarray(at, at + length);
      at += length;
    } else throw new Error(`wire type ${type}`);
  }
  return found;
}

/** A page's core: what it writes on the signalling stream, and how long each call took. */
function start() {
  let core;
  const bytes = (pointer, length) => new Uint8Array(core.memory.buffer, pointer, length);
  const env = {
    host_random: (pointer, length) => void randomFillSync(bytes(pointer, length)),
    host_panic: (pointer, length) => console.error('panic:', Buffer.from(bytes(pointer, length)).toString()),
  };
  core = new WebAssembly.Instance(module, { env }).exports;
  const call = (enter) => {
    const begin = performance.now();
    const code = enter(begin, Date.now());
    const ms = performance.now() - begin;
    if (code !== 0) throw new Error(`the core refused a call: ${code}`);
    const written = [];
    for (let kind = core.dt_poll(); kind !== 0; kind = core.dt_poll()) {
      const record = core.dt_record();
      const [link] = new Float64Array(core.memory.buffer, record, 1);
      const [data, length] = new Uint32Array(core.memory.buffer, record + 32, 2);
      if (kind === WRITE && link === SIGNAL) written.push(Buffer.from(bytes(data, length)));
    }
    return { ms, written: Buffer.concat(written) };
  };
  return {
    command(command) {
      const json = Buffer.from(JSON.stringify(command));
      const pointer = core.dt_alloc(json.length);
      bytes(pointer, json.length).set(json);
      const done = call((now, wall) => core.dt_command(now, wall, pointer, json.length));
      core.dt_free(pointer, json.length);
      return done;
    },
    linkUp: () => call((now, wall) => core.dt_link_up(now, wall, SIGNAL, 1200)),
    deadline: () => core.dt_deadline(),
    tick: () => call((now, wall) => core.dt_tick(now, wall)),
  };
}

/** Joins the group of `info`, or founds one: the state it leaves, and how long each step took. */
function join(info, { ahead }) {
  const begin = performance.now();
  const core = start();
  const started = performance.now() - begin;
  const door = { url: 'https://127.0.0.1/v1', certificate_sha256: [], token: 'token' };
  const access = {
    meeting: { id: meeting, code: 'abcd-efgh-ijk', title: '', max_participants: 200, key_in_link: true, participants: 0 },
    participant_id: randomBytes(16).toString('hex'),
    role: 'guest',
    signal: door,
    media: door,
    key: info === null ? { founded: false } : { founded: true, epoch: info.epoch, group_info: info.bytes.toString('base64') },
  };
  const enter = core.command({ do: 'enter', access, link_secret: secret });
  // What a page does while it waits in the lobby.
  let waiting = 0;
  if (ahead) while (core.deadline() <= performance.now()) waiting += core.tick().ms;
  const joined = core.command({ do: 'join', name: 'Somebody', tracks: [] });
  const up = core.linkUp();
  // A varint of the length stands before the message.
  const framed = up.written;
  const message = framed.subarray(1 << (framed[0] >> 6));
  const commit = field(field(message, JOIN), JOIN_KEY);
  const bytes = Buffer.from(field(commit, KEY_GROUP_INFO));
  const next = { epoch: info === null ? 0 : info.epoch + 1, bytes };
  return { next, ms: { start: started, enter: enter.ms, waiting, join: joined.ms, up: up.ms } };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const gzip = gzipSync(file, { level: 9 }).length;
console.log(`${path}: ${file.length} bytes, ${gzip} gzip; median of ${rounds}, in ms`);
let state = null;
let members = 0;
for (const size of SIZES) {
  while (members < size) {
    state = join(state, { ahead: false }).next;
    members++;
  }
  for (const ahead of [false, true]) {
    const times = Array.from({ length: Number(rounds) }, () => join(state, { ahead }).ms);
    const of = (step) => median(times.map((ms) => ms[step])).toFixed(1).padStart(6);
    const steps = ['start', 'enter', 'waiting', 'join', 'up'].map((step) => `${step} ${of(step)}`).join('  ');
    console.log(`${String(size).padStart(4)} members, ${ahead ? 'from the lobby' : 'cold          '}: ${steps}`);
  }
}
