-- Put before each script. KEYS[1] is the shard's base key, e.g. "{ts:0}:1"; every other key hangs below it, in the
-- same slot. Members are "<merchant, 32 hex><job, 32 hex>:<priority>".
local base = KEYS[1]
local DUE, RING, TERMS, READY = base .. ':due', base .. ':ring', base .. ':terms:', base .. ':ready:'
local HELD, RATE, COUNT, VTIME = base .. ':held:', base .. ':rate:', base .. ':ready_count', base .. ':vtime'
local EXECUTORS, WAKE, WAKING = base .. ':executors', base .. ':wake', base .. ':waking'
local TICKED = base .. ':ticked'
local POPPED, POPPED_UNTIL, EPOCH, MORE = base .. ':popped', base .. ':popped_until', base .. ':epoch', base .. ':more'
local PRIORITY_STEP = 4398046511104 -- 2^42: above every due time in milliseconds, so priority outweighs it
local WORDS = 4000

-- Puts members into their merchants' queues; `given` is {member, due_ms, member, due_ms, ...}. A call for each merchant
-- and not for each member, but with no more words than Lua's stack has room for. Answers whether a merchant is among
-- them that had nothing ready.
local function make_ready(given)
  local order, entries_of, vtime, total, newcomers = {}, {}, nil, 0, 0
  for i = 1, #given, 2 do
    local member = given[i]
    local merchant = string.sub(member, 1, 32)
    local entries = entries_of[merchant]
    if not entries then
      entries = {}
      entries_of[merchant] = entries
      order[#order + 1] = merchant
    end
    entries[#entries + 1] = (100 - tonumber(string.sub(member, 66))) * PRIORITY_STEP + given[i + 1]
    entries[#entries + 1] = member
  end
  for _, merchant in ipairs(order) do
    local entries, added = entries_of[merchant], 0
    for i = 1, #entries, WORDS do
      added = added + redis.call('ZADD', READY .. merchant, unpack(entries, i, math.min(i + WORDS - 1, #entries)))
    end
    if added > 0 then
      vtime = vtime or redis.call('GET', VTIME) or 0
      newcomers = newcomers + redis.call('ZADD', RING, 'NX', vtime, merchant)
      total = total + added
    end
  end
  if total > 0 then redis.call('INCRBY', COUNT, total) end
  return newcomers > 0
end

-- Until when somebody must be awake for what falls due: then the executor of the next tick is at work. With no tick
-- known of late none is counted on.
local function guarded_until(now, linger_ms)
  return tonumber(redis.call('GET', TICKED) or now) + linger_ms
end
