-- Put before each script. KEYS[1] is the shard's base key, e.g. "{ts:0}:1"; every other key hangs below it, in the
-- same slot. Members are "<merchant, 32 hex><job, 32 hex>:<priority>". PRIORITY_STEP, PRESENCE_MS, how long an executor
-- counts as awake after it was heard of, and ROOM_SHARE are put before it by ready_set.py.
local base = KEYS[1]
local RING, TERMS, READY = base .. ':ring', base .. ':terms:', base .. ':ready:'
local LATER, HEADS, TAILS, LATER_COUNT = base .. ':later:', base .. ':heads', base .. ':tails', base .. ':later_count'
local HELD, RATE, COUNT, VTIME = base .. ':held:', base .. ':rate:', base .. ':ready_count', base .. ':vtime'
local EXECUTORS, WAKE, WAKING = base .. ':executors', base .. ':wake', base .. ':waking'
local TICKED = base .. ':ticked'
local POPPED, POPPED_UNTIL, EPOCH = base .. ':popped', base .. ':popped_until', base .. ':epoch'
local MORE, LIGHT, FILLED_UNTIL = base .. ':more', base .. ':light', base .. ':filled_until'
local LEFT_OUT_FROM, TURNED_AWAY_FROM = base .. ':left_out_from', base .. ':turned_away_from'
local WORDS = 4000
local JUST_CAME_MS = 250
local MERCHANTS_AT_ONCE = 500
local A_FEW = 3

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

-- What is to come waits in a set for each merchant by its due time, so that what falls due of one is not behind all that
-- falls due with it of another. HEADS and TAILS know the merchants by when their first and their last is due: no later
-- than the first, no sooner than the last.

-- Puts {merchant, entries, merchant, entries, ...} there. Answers how many of them are new, and when the last is due.
local function add_later(queues)
  local heads, tails, total, last_of_all = {}, {}, 0, 0
  for i = 1, #queues, 2 do
    local entries, first, last = queues[i + 1], math.huge, 0
    for j = 1, #entries, 2 do
      local due = tonumber(entries[j])
      if due < first then first = due end
      if due > last then last = due end
    end
    total = total + add(LATER .. queues[i], entries)
    heads[i], heads[i + 1] = first, queues[i]
    tails[i], tails[i + 1] = last, queues[i]
    last_of_all = math.max(last_of_all, last)
  end
  if #queues > 0 then
    redis.call('ZADD', HEADS, 'LT', unpack(heads))
    redis.call('ZADD', TAILS, 'GT', unpack(tails))
    redis.call('INCRBY', LATER_COUNT, total)
  end
  return total, last_of_all
end

-- Takes what is due until `until_ms` of these merchants out of it, but of none more than `each`. Answers {merchant,
-- {member, due_ms, member, due_ms, ...}, ...}, how many that are in all, and of which merchants it was as many as might be.
local function take_fallen(merchants, until_ms, each)
  local fallen, total, greedy, heads, emptied = {}, 0, {}, {}, {}
  for _, merchant in ipairs(merchants) do
    local key = LATER .. merchant
    -- Mostly a few have fallen due, and one look shows them and the next.
    local members, head, count = redis.call('ZRANGE', key, 0, A_FEW, 'WITHSCORES'), nil, 0
    while count < each and members[2 * count + 2] and tonumber(members[2 * count + 2]) <= until_ms do count = count + 1 end
    if count <= A_FEW then
      head = members[2 * count + 2]
      for i = #members, 2 * count + 1, -1 do members[i] = nil end
    else
      members = redis.call('ZRANGEBYSCORE', key, '-inf', until_ms, 'WITHSCORES', 'LIMIT', 0, each)
      count = #members / 2
      head = redis.call('ZRANGE', key, count, count, 'WITHSCORES')[2]
    end
    if count > 0 then
      redis.call('ZREMRANGEBYRANK', key, 0, count - 1)
      total = total + count
      fallen[#fallen + 1] = merchant
      fallen[#fallen + 1] = members
    end
    if head then
      heads[#heads + 1] = head
      heads[#heads + 1] = merchant
      if count == each then greedy[#greedy + 1] = merchant end
    else
      emptied[#emptied + 1] = merchant
    end
  end
  if #heads > 0 then redis.call('ZADD', HEADS, unpack(heads)) end
  if #emptied > 0 then
    redis.call('ZREM', HEADS, unpack(emptied))
    redis.call('ZREM', TAILS, unpack(emptied))
  end
  if total > 0 then redis.call('DECRBY', LATER_COUNT, total) end
  return fallen, total, greedy
end

-- Takes the `count` that are due last of all that is to come out of it; answers when the first of them is due.
local function cut_off(count)
  local left, from = count, math.huge
  while left > 0 do
    local two = redis.call('ZRANGE', TAILS, -2, -1, 'WITHSCORES')
    local merchant, others_last = two[#two - 1], #two == 4 and two[2] or '-inf'
    if not merchant then break end
    local key = LATER .. merchant
    local most = math.min(left, redis.call('ZCOUNT', key, others_last, '+inf')) -- none: its last is sooner than TAILS says
    if most > 0 then
      from = math.min(from, tonumber(redis.call('ZRANGE', key, -most, -most, 'WITHSCORES')[2]))
      redis.call('ZREMRANGEBYRANK', key, -most, -1)
      left = left - most
    end
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    if last then
      redis.call('ZADD', TAILS, last, merchant)
    else
      redis.call('ZREM', HEADS, merchant)
      redis.call('ZREM', TAILS, merchant)
    end
  end
  redis.call('DECRBY', LATER_COUNT, count - left)
  return from
end

-- When the first of what is to come is due, or a little before; nil: nothing is to come.
local function next_due()
  local head = redis.call('ZRANGE', HEADS, 0, 0, 'WITHSCORES')[2]
  return head and tonumber(head)
end

-- How much of what was to come is due by now.
local function fallen_due(now)
  local count = 0
  for _, merchant in ipairs(redis.call('ZRANGEBYSCORE', HEADS, '-inf', now, 'LIMIT', 0, MERCHANTS_AT_ONCE)) do
    count = count + redis.call('ZCOUNT', LATER .. merchant, '-inf', now)
  end
  return count
end

-- How many of `most` entries one backlog may be: as many as ROOM_SHARE times the room that it leaves.
local function share_of(most)
  return math.floor(most * ROOM_SHARE / (ROOM_SHARE + 1))
end

-- As `make_ready`, as far as there is room. A merchant's queue may be ROOM_SHARE times as long as the room that is left
-- of `most` (the dynamic threshold of domain/fairness.py): so there is room for the next, however many backlogs do not
-- move; and a sixteenth more for the first of those who have nothing ready. A queue that must not grow keeps what comes
-- first in it, but a filling, which may bring all to no more than the share of one, sends nothing away.
-- Answers how many are ready, how many of them are new, whether a merchant had nothing ready, how many were left out,
-- and when the first of these is due.
local function make_ready_in_room(queues, most, is_filling)
  local before, coming = tonumber(redis.call('GET', COUNT) or 0), 0
  for i = 2, #queues, 2 do coming = coming + #queues[i] / 2 end
  if before + coming <= share_of(most) then -- no queue can be too long
    local has_newcomer, added = make_ready(queues)
    return before + added, added, has_newcomer, 0, nil
  end
  local ready_most, beyond = is_filling and share_of(most) or most, most + math.floor(most / 16)
  local ready, has_newcomer, left_out, left_out_from, lengths, last_scores = before, false, 0, nil, {}, {}
  local function replaces_last(key, i, score, member)
    if is_filling then return nil end
    last_scores[i] = last_scores[i] or tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] or 0)
    if score >= last_scores[i] or redis.call('ZADD', key, score, member) == 0 then return nil end
    redis.call('ZREMRANGEBYRANK', key, -1, -1)
    local replaced = last_scores[i]
    last_scores[i] = nil
    return replaced
  end
  local at, is_over = 1, false
  while not is_over do -- in turns, so that no merchant takes the room of the others
    is_over = true
    for i = 1, #queues, 2 do
      local key, score, member = READY .. queues[i], tonumber(queues[i + 1][at]), queues[i + 1][at + 1]
      if score then
        is_over = false
        local length = lengths[i] or redis.call('ZCARD', key)
        if (ready < ready_most and length < ROOM_SHARE * (most - ready)) or (ready < beyond and length == 0) then
          local added = redis.call('ZADD', key, score, member) -- what is there already needs no room
          if length == 0 then
            has_newcomer = redis.call('ZADD', RING, 'NX', redis.call('GET', VTIME) or 0, queues[i]) == 1 or has_newcomer
          end
          ready, length = ready + added, length + added
        else
          score = replaces_last(key, i, score, member) or score
          left_out = left_out + 1
          left_out_from = math.min(left_out_from or math.huge, score % PRIORITY_STEP)
        end
        lengths[i] = length
      end
    end
    at = at + 2
  end
  if ready > before then redis.call('INCRBY', COUNT, ready - before) end
  return ready, ready - before, has_newcomer, left_out, left_out_from
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
