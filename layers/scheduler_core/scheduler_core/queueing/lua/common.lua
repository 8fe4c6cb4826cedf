-- Put before each script, with the parts that it names. KEYS[1] is the shard's base key, e.g. "{ts:0}:3"; every other key
-- hangs below it, in the same slot. Members are "<merchant, 32 hex><job, 32 hex>:<priority>"; a bundle is a member with
-- several jobs' ids one behind the other. PRIORITY_STEP, PRESENCE_MS, how long an executor counts as awake after it was
-- heard of, and ROOM_SHARE are put before it by ready_set.py.
local base = KEYS[1]
local RING, TERMS, READY = base .. ':ring', base .. ':terms:', base .. ':ready:'
local HELD, RATE, COUNT, VTIME = base .. ':held:', base .. ':rate:', base .. ':ready_count', base .. ':vtime'
local BUNDLES, BUNDLED = base .. ':bundles:', base .. ':bundled'
local EXECUTORS, WAKE, WAKING = base .. ':executors', base .. ':wake', base .. ':waking'
local TICKED = base .. ':ticked'
local POPPED, POPPED_UNTIL, EPOCH = base .. ':popped', base .. ':popped_until', base .. ':epoch'
local MORE, LIGHT, FILLED_UNTIL = base .. ':more', base .. ':light', base .. ':filled_until'
local LEFT_OUT_FROM, TURNED_AWAY_FROM = base .. ':left_out_from', base .. ':turned_away_from'
local FILLING, LOSSES, DOUBT = base .. ':duty:refill', base .. ':losses', base .. ':doubt'
local WORDS = 4000
local JUST_CAME_MS = 250

-- Adds {score, member, score, member, ...} to a sorted set, in calls with no more words than Lua's stack has room for.
-- `option` is ZADD's, such as 'NX', or nil. Answers how many of them are new.
local function add(key, entries, option)
  local added = 0
  for i = 1, #entries, WORDS do
    local last = math.min(i + WORDS - 1, #entries)
    if option then
      added = added + redis.call('ZADD', key, option, unpack(entries, i, last))
    else
      added = added + redis.call('ZADD', key, unpack(entries, i, last))
    end
  end
  return added
end

-- Remembers the earliest due time of what found no room, for the next filling: under LEFT_OUT_FROM of what was to come,
-- under TURNED_AWAY_FROM of what was due.
local function remember(key, from)
  local known = tonumber(redis.call('GET', key) or from)
  redis.call('SET', key, string.format('%.0f', math.min(known, from)), 'EX', 300)
end

-- Whether PostgreSQL holds something for which there was no room: a filling stopped, or an announcement left something out.
local function has_more()
  return redis.call('EXISTS', MORE, LEFT_OUT_FROM, TURNED_AWAY_FROM) > 0
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
