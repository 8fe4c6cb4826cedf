-- Put before each script. KEYS[1] is the shard's base key, e.g. "{ts:0}:1"; every other key hangs below it, in the
-- same slot. Members are "<merchant, 32 hex><job, 32 hex>:<priority>".
local base = KEYS[1]
local DUE, RING, TERMS, READY = base .. ':due', base .. ':ring', base .. ':terms:', base .. ':ready:'
local HELD, RATE, COUNT, VTIME = base .. ':held:', base .. ':rate:', base .. ':ready_count', base .. ':vtime'
local EXECUTORS, WAKE, WAKING = base .. ':executors', base .. ':wake', base .. ':waking'
local TICKED = base .. ':ticked'
local POPPED, POPPED_UNTIL, EPOCH, MORE = base .. ':popped', base .. ':popped_until', base .. ':epoch', base .. ':more'
local PRIORITY_STEP = 4398046511104 -- 2^42: above every due time in milliseconds, so priority outweighs it

local function make_ready(member, due_ms)
  local merchant = string.sub(member, 1, 32)
  local priority = tonumber(string.sub(member, 66))
  local added = redis.call('ZADD', READY .. merchant, (100 - priority) * PRIORITY_STEP + due_ms, member)
  if added == 1 then
    redis.call('INCR', COUNT)
    redis.call('ZADD', RING, 'NX', redis.call('GET', VTIME) or 0, merchant)
  end
end

-- Until when somebody must be awake for what falls due: then the executor of the next tick is at work. With no tick
-- known of late none is counted on.
local function guarded_until(now, linger_ms)
  return tonumber(redis.call('GET', TICKED) or now) + linger_ms
end
