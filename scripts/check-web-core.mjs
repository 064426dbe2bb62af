#!/usr/bin/env node
// Holds the WASM build of the core to every file of proto/vectors, and lets it and the native build share meetings:
// each founds, joins, seals and opens against the other.
//
//   node scripts/check-web-core.mjs MODULE NATIVE
//
// MODULE is core.wasm built with `--features vectors`, NATIVE the program `vectors-end` (tests/vectors).
import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as expire } from 'node:timers/promises';

const [modulePath, nativePath] = process.argv.slice(2);
if (!nativePath) throw new Error('check-web-core.mjs MODULE NATIVE');
const folder = new URL('../proto/vectors/', import.meta.url);
const module = new WebAssembly.Module(readFileSync(modulePath));

/** One instance: texts in, texts out. */
function instantiate() {
  let core;
  const view = (pointer, len) => new Uint8Array(core.memory.buffer, pointer, len);
  const read = (pointer, len) => new TextDecoder().decode(view(pointer, len));
  const env = {
    host_random: (pointer, len) => void randomFillSync(view(pointer, len)),
    host_panic: (pointer, len) => console.error('panic in the module:', read(pointer, len)),
  };
  core = new WebAssembly.Instance(module, { env }).exports;
  const give = (text, call) => {
    const bytes = new TextEncoder().encode(text);
    const pointer = core.dt_alloc(bytes.length);
    view(pointer, bytes.length).set(bytes);
    try {
      return call(pointer, bytes.length);
    } finally {
      core.dt_free(pointer, bytes.length);
    }
  };
  const message = () => read(core.dt_message(), core.dt_message_len());
  return {
    vectors(name, json) {
      const count = give(`${name}\n${json}`, core.dt_vectors);
      if (count === 0) throw new Error(`${name}: ${message()}`);
      return count;
    },
    async say(line) {
      give(line, core.dt_end);
      return message();
    },
    stop() {},
  };
}

/** The native program behind the same question. */
function start() {
  const child = spawn(nativePath, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async say(line) {
      child.stdin.write(`${line}\n`);
      const late = expire(10_000, undefined, { ref: false }).then(() => {
        throw new Error('the native end does not answer');
      });
      const { value, done } = await Promise.race([answers.next(), late]);
      if (done) throw new Error('the native end is gone');
      return value;
    },
    stop: () => child.stdin.end(),
  };
}

/** The values of an answer that must be good. */
async function ok(end, line) {
  const [verdict, ...values] = (await end.say(line)).split(' ');
  if (verdict !== 'ok') throw new Error(`${line.slice(0, 60)}: ${values.join(' ')}`);
  return values;
}

function same(what, ours, wanted) {
  if (JSON.stringify(ours) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: ${JSON.stringify(ours)} is not ${JSON.stringify(wanted)}`);
  }
}

const id = (digit) => digit.repeat(32);

async function refused(end, line) {
  const answer = await end.say(line);
  if (!answer.startsWith('error ')) throw new Error(`not refused: ${line.slice(0, 60)}`);
}

/** All see one code, and each opens what each other seals, and nothing that was changed or is another's. */
async function agree(ends) {
  const codes = await Promise.all(ends.map(([, end]) => ok(end, 'code')));
  for (const code of codes) same('code', code, codes[0]);
  for (const [sender, from] of ends) {
    const [frame] = await ok(from, `seal 300 70000 2 ${'00ff'.repeat(700)}`);
    for (const [receiver, to] of ends) {
      if (receiver === sender) continue;
      const opened = await ok(to, `open ${sender} ${frame}`);
      same('frame', opened, ['300', '70000', '2', '00ff'.repeat(700)]);
      await refused(to, `open ${receiver} ${frame}`);
      const last = frame.endsWith('0') ? '1' : '0';
      await refused(to, `open ${sender} ${frame.slice(0, -1)}${last}`);
      // Track 300 becomes 301: the header is authenticated.
      await refused(to, `open ${sender} ${frame.replace('412c', '412d')}`);
    }
  }
}

/** The first founds, the second joins, the third joins, the second is removed by the first. */
async function meet(names, make, link) {
  const [a, b, c] = make.map((create) => create());
  try {
    let [info] = await ok(a, `found ${id('a')} ${id('7')} ${link}`);
    let commit;
    [commit, info] = await ok(b, `join ${id('b')} ${info} ${link}`);
    same('epoch and members', await ok(a, `process ${commit}`), ['1', '2']);
    await agree([[id('a'), a], [id('b'), b]]);
    [commit, info] = await ok(c, `join ${id('c')} ${info} ${link}`);
    for (const end of [a, b]) same('epoch and members', await ok(end, `process ${commit}`), ['2', '3']);
    await agree([[id('a'), a], [id('b'), b], [id('c'), c]]);
    [commit] = await ok(a, `remove ${id('b')}`);
    for (const end of [a, c]) same('epoch and members', await ok(end, `process ${commit}`), ['3', '2']);
    await agree([[id('a'), a], [id('c'), c]]);
    const [frame] = await ok(c, 'seal 1 1 1 5ec2e7');
    await refused(b, `open ${id('c')} ${frame}`);
  } catch (error) {
    throw new Error(`${names} ${link === '-' ? 'without' : 'with'} a link secret: ${error.message}`);
  } finally {
    for (const end of [a, b, c]) end.stop();
  }
}

let cases = 0;
const core = instantiate();
const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
for (const name of files) cases += core.vectors(name, readFileSync(new URL(name, folder), 'utf8'));

const kinds = [['native', start], ['wasm', instantiate]];
let meetings = 0;
for (let mix = 1; mix < 7; mix++) {
  const picked = [0, 1, 2].map((bit) => kinds[(mix >> bit) & 1]);
  for (const link of ['-', 'AAECAwQFBgcICQoLDA0ODw']) {
    await meet(picked.map(([name]) => name).join(', '), picked.map(([, make]) => make), link);
    meetings++;
  }
}
console.log(`web-core: ${cases} vectors of ${files.length} files hold, ${meetings} meetings of both builds agree`);
