//! What Redis does in one step: comparing and writing belong together.
//!
//! Times are the server's: nodes whose clocks are apart agree on what has expired. A number in a script is exact up to
//! 2^53, which fences of the clock (milliseconds · 1024) reach in the year 2248.

use redis::{Cmd, cmd};

/// A script and its name on the server.
#[derive(Debug)]
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        let digest = redis::Script::new(code).get_hash().to_owned();
        Self { code, digest }
    }

    /// The call by name, for a server that has seen the script.
    pub(super) fn known(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.digest, keys, arguments)
    }

    /// The call for one that has not: it knows it from then on.
    pub(super) fn whole(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", self.code, keys, arguments)
    }
}

fn call(command: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let mut call = cmd(command);
    call.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    call
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put_node: Script,
    pub(super) remove_node: Script,
    pub(super) list_nodes: Script,
    pub(super) acquire: Script,
    pub(super) read_lease: Script,
    pub(super) release: Script,
    pub(super) snapshot: Script,
    pub(super) append: Script,
    pub(super) load: Script,
    pub(super) forget: Script,
    pub(super) count: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            put_node: Script::new(PUT_NODE),
            remove_node: Script::new(REMOVE_NODE),
            list_nodes: Script::new(LIST_NODES),
            acquire: Script::new(ACQUIRE),
            read_lease: Script::new(READ_LEASE),
            release: Script::new(RELEASE),
            snapshot: Script::new(SNAPSHOT),
            append: Script::new(APPEND),
            load: Script::new(LOAD),
            forget: Script::new(FORGET),
            count: Script::new(COUNT),
        }
    }
}

/// Nodes: a hash of id to "expiry record". Arguments: id, record, time to live, channel, gRPC address. A change wakes.
/// Answers 0 where another node has the id. A record that cannot be read is nobody's.
const PUT_NODE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', KEYS[1], ARGV[1])
local expiry, record = string.match(before or '', '^(%d+) (.*)$')
if expiry and tonumber(expiry) <= now then record = nil end
if record and record ~= ARGV[2] then
  local is_read, known = pcall(cjson.decode, record)
  local url = is_read and type(known) == 'table' and known['grpc_url']
  if url and url ~= ARGV[5] then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now + ARGV[3]) .. ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
if record ~= ARGV[2] then redis.call('SPUBLISH', ARGV[4], '') end
return 1
";

/// Arguments: id, channel.
const REMOVE_NODE: &str = r"
local removed = redis.call('HDEL', KEYS[1], ARGV[1])
if removed > 0 then redis.call('SPUBLISH', ARGV[2], '') end
return removed
";

/// Records of the nodes that are there; those that have expired are dropped on the way.
const LIST_NODES: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local there = {}
for at = 1, #all, 2 do
  local expiry, record = string.match(all[at + 1], '^(%d+) (.*)$')
  if expiry and tonumber(expiry) > now then
    there[#there + 1] = record
  else
    redis.call('HDEL', KEYS[1], all[at])
  end
end
return there
";

/// Keys: lease, fence, log. Arguments: owner, time to live, the fence's time to live, channel.
///
/// The fence goes beyond the last one that is remembered and beyond the clock, so that it grows also where the server
/// has forgotten the last.
const ACQUIRE: &str = r"
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
local written = redis.call('HGET', KEYS[3], 'number') or '0'
if held[1] and held[1] ~= ARGV[1] then
  return {held[1], held[2], redis.call('PTTL', KEYS[1]), written}
end
local fence = held[2]
if not held[1] then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local last = tonumber(redis.call('GET', KEYS[2]) or '0')
  fence = string.format('%.0f', math.max(last + 1, now * 1024))
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', fence)
  redis.call('SPUBLISH', ARGV[4], '')
end
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], fence, tonumber(ARGV[2]), written}
";

/// Keys: lease, log.
const READ_LEASE: &str = r"
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if not held[1] then return {'', '0', 0, '0'} end
return {held[1], held[2], redis.call('PTTL', KEYS[1]), redis.call('HGET', KEYS[2], 'number') or '0'}
";

/// Key: lease. Arguments: owner, fence, channel.
const RELEASE: &str = r"
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] == ARGV[1] and held[2] == ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('SPUBLISH', ARGV[3], '')
  return 1
end
return 0
";

/// A write to a meeting's log, behind what keeps others out. Keys: fence, log, deltas. Arguments: fence, the log's time
/// to live, the write's number.
///
/// An owner numbers its writes. One that comes again, because its answer was lost on the way, has been done; one that
/// comes late, after a later one, is not done any more.
macro_rules! log_write {
    ($write:literal) => {
        concat!(
            r"
local function newer(fence) return fence and tonumber(fence) > tonumber(ARGV[1]) end
local log = redis.call('HMGET', KEYS[2], 'fence', 'number')
if newer(redis.call('GET', KEYS[1])) or newer(log[1]) then return 0 end
local last, number = tonumber(log[2] or '0'), tonumber(ARGV[3])
if log[1] == ARGV[1] then
  if last == number then return 1 end
  if last > number then return -2 end
end
",
            $write
        )
    };
}

/// One more argument: the snapshot.
const SNAPSHOT: &str = log_write!(
    r"
redis.call('HSET', KEYS[2], 'fence', ARGV[1], 'number', ARGV[3], 'snapshot', ARGV[4])
redis.call('DEL', KEYS[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"
);

/// Two more arguments: the delta, and the most deltas.
const APPEND: &str = log_write!(
    r"
if last ~= number - 1 then return -2 end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[5]) then return -1 end
redis.call('RPUSH', KEYS[3], ARGV[4])
redis.call('HSET', KEYS[2], 'fence', ARGV[1], 'number', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
"
);

/// Keys: log, deltas.
const LOAD: &str = r"
local log = redis.call('HMGET', KEYS[1], 'snapshot', 'fence', 'number')
return {log[1] or '', log[2] or '0', log[3] or '0', redis.call('LRANGE', KEYS[2], 0, -1)}
";

/// Keys: fence, log, deltas. Argument: fence.
const FORGET: &str = r"
local function newer(fence) return fence and tonumber(fence) > tonumber(ARGV[1]) end
if newer(redis.call('GET', KEYS[1])) or newer(redis.call('HGET', KEYS[2], 'fence')) then return 0 end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
";

/// Key: counter. Argument: window.
const COUNT: &str = r"
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
";
