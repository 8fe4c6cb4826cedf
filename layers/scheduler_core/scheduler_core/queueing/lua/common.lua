-- Put before each script. KEYS[1] is the shard's base key, e.g. "{ts:0}:1"; every other key hangs below it, in the
-- same slot. Members are "<merchant, 32 hex><job, 32 hex>:<priority>". PRIORITY_STEP and PRESENCE_MS, how long an executor
-- counts as awake after it was heard of, are put before it by ready_set.py.
local base = KEYS[1]
local DUE, RING, TERMS, READY = base .. ':due', base .. ':ring', base .. ':terms:', base .. ':ready:'
local HELD, RATE, COUNT, VTIME = base .. ':held:', base .. ':rate:', base .. ':ready_count', base .. ':vtime'
local EXECUTORS, WAKE, WAKING = base .. ':executors', base .. ':wake', base .. ':waking'
local TICKED = base .. ':ticked'
local POPPED, POPPED_UNTIL, EPOCH = base .. ':popped', base .. ':popped_until', base .. ':epoch'
local MORE, LEFT_OUT_FROM = base .. ':more', base .. ':left_out_from'
local LIGHT = base .. ':light'
local WORDS = 4000
local JUST_CAME_MS = 250

-- Adds {score, member, score, member, ...} to a sorted set, in calls with no more words than Lua's stack has room for.
-- Answers how many of them are new.
local function add(key, entries)
  local added = 0
  for i = 1, #entries, WORDS do
    added = added + redis.call('ZADD', key, unpack(entries, i, math.min(i + WORDS - 1, #entries)))
  end
  return added
end

-- Puts entries into merchants' queues; `queues` is {merchant, entries as for `add`, merchant, entries, ...}.
-- Answers whether a merchant is among them that had nothing ready, and how many entries are new.
local function make_ready(queues)
  local vtime, total, newcomers = nil, 0, 0
  for i = 1, #queues, 2 do
    local added = add(READY .. queues[i], queues[i + 1])
    if added > 0 then
      vtime = vtime or redis.call('GET', VTIME) or 0
      newcomers = newcomers + redis.call('ZADD', RING, 'NX', vtime, queues[i])
      total = total + added
    end
  end
  if total > 0 then redis.call('INCRBY', COUNT, total) end
  return newcomers > 0, total
end

-- Whether PostgreSQL holds something for which there was no room: a filling stopped, or an announcement left something out.
local function has_more()
  return redis.call('EXISTS', MORE, LEFT_OUT_FROM) > 0
end

-- Until when somebody must be awake for what falls due: then the executor of the next tick is at work. With no tick
-- known of late none is counted on.
local function guarded_until(now, linger_ms)
  return tonumber(redis.call('GET', TICKED) or now) + linger_ms
end

-- How many executors are awake: heard of within PRESENCE_MS. Where nobody listens their processes are gone, for a
-- connection ends with its process; but for those who came a moment ago, they may be about to listen.
-- `own`, if it is given, asks of the others: it listens, and is not counted.
local function awake_at(now, own)
  local since = now
  if redis.call('PUBSUB', 'NUMSUB', WAKE)[2] <= (own and 1 or 0) then since = now + PRESENCE_MS - JUST_CAME_MS end
  local awake = redis.call('ZCOUNT', EXECUTORS, since, '+inf')
  local score = own and redis.call('ZSCORE', EXECUTORS, own)
  if score and tonumber(score) >= since then awake = awake - 1 end
  return awake
end
