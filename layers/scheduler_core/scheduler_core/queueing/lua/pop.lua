-- Pops a batch, fairly. A popped batch is kept under its token until the token is reported done, or comes back.
-- ARGV: now_ms, lead_ms, most, executor, token, visibility_ms, hold_ms, most entries of the set, number of done tokens,
--       done tokens..., the most for any merchant, then (merchant, the most for this one) pairs...
-- Answers: [members and bundles, each on a line of its own, next look in ms from now or -1, how many jobs are left in all,
--           how many of them are not due yet, 1 if the set must be rebuilt or 2 if somebody is at it, 1 if PostgreSQL has
--           more, 1 if it has more beside the heavy merchants' backlogs, merchants whose terms are unknown]
local MOVE_MOST, ROUND = 2000, 100
local now, lead, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZADD', EXECUTORS, now + PRESENCE_MS, ARGV[4])
redis.call('DEL', WAKING)
local done = tonumber(ARGV[9])
for i = 10, 9 + done do
  redis.call('HDEL', POPPED, ARGV[i])
  redis.call('ZREM', POPPED_UNTIL, ARGV[i])
end
local most_each, allowance = tonumber(ARGV[10 + done]), {}
for i = 11 + done, #ARGV, 2 do allowance[ARGV[i]] = tonumber(ARGV[i + 1]) end

-- The time is over in which some could not tell of their jobs: now all of them are in PostgreSQL.
local doubtful_until = tonumber(redis.call('GET', DOUBT) or 0)
if doubtful_until > 0 and doubtful_until <= now then
  redis.call('DEL', DOUBT, EPOCH)
  redis.call('INCR', LOSSES)
  doubtful_until = 0
end

-- Puts {merchant, {member, due_ms, member, due_ms, ...}, ...} into the merchants' queues, as far as there is room.
local function sort_out(given)
  local queues = {}
  for i = 1, #given, 2 do
    local members, entries, due, priority, score = given[i + 1], {}, nil, nil, nil
    for j = 1, #members, 2 do
      local its_due, its_priority = members[j + 1], string.sub(members[j], 66)
      if its_due ~= due or its_priority ~= priority then -- to write a number out takes long
        due, priority = its_due, its_priority
        score = string.format('%.0f', (100 - priority) * PRIORITY_STEP + due)
      end
      entries[j] = score
      entries[j + 1] = members[j]
    end
    queues[i] = given[i]
    queues[i + 1] = entries
  end
  local _, _, _, _, turned_away_from = make_ready_in_room(queues, tonumber(ARGV[8]), false)
  if turned_away_from then remember(TURNED_AWAY_FROM, turned_away_from) end
end

-- Batches whose executor never said what it did with them.
for _, token in ipairs(redis.call('ZRANGEBYSCORE', POPPED_UNTIL, '-inf', now, 'LIMIT', 0, 4)) do
  local returned, members_of = {}, {}
  for member in string.gmatch(redis.call('HGET', POPPED, token) or '', '[^\n]+') do
    local merchant = string.sub(member, 1, 32)
    local members = members_of[merchant]
    if not members then
      members = {}
      members_of[merchant] = members
      returned[#returned + 1] = merchant
      returned[#returned + 1] = members
    end
    for _, single in ipairs(members_in(member)) do
      members[#members + 1] = single
      members[#members + 1] = now
    end
  end
  sort_out(returned)
  redis.call('HDEL', POPPED, token)
  redis.call('ZREM', POPPED_UNTIL, token)
end

-- What has fallen due moves to its merchant's queue: a share of each merchant's, and what is left of MOVE_MOST to those
-- who have more. So one who has much due at one time holds nobody up. Where all have had a turn, fewer of them get more
-- each, which costs less for each job; but whoever has something due only since then comes before them.
local budget, looks = MOVE_MOST, MERCHANTS_AT_ONCE
local function move(movers, sharing)
  local fallen, moved = take_fallen(movers, now + lead, math.max(1, math.floor(budget / sharing)))
  if moved > 0 then sort_out(fallen) end
  budget, looks = budget - moved, looks - #movers
end
local later_turns = had_turns()
if later_turns then
  local newcomers = newly_fallen(now + lead, NEWCOMERS_AT_ONCE)
  move(newcomers, #newcomers + AT_LATER_TURNS)
end
while budget > 0 and looks > 0 do
  local movers = with_fallen(now + lead, later_turns and math.min(looks, AT_LATER_TURNS) or looks)
  if #movers == 0 then break end
  move(movers, #movers)
end

-- Round the merchants by weight (stride scheduling: the lowest pass is served next, and its pass grows by what it got).
-- They are looked up some at a time; once one that was served is not behind the next of them, the ring is read again.
local lines, taken, unknown, soonest = {}, 0, {}, -1
local function look_again_in(ms) if soonest < 0 or ms < soonest then soonest = ms end end
local has_bundles = redis.call('EXISTS', BUNDLED) == 1
local quantum = math.max(1, math.ceil(most / math.max(1, redis.call('ZCARD', RING))))
local skipped, gone, vtime = 0, 0, nil
local round, at, again_from, emptied = {}, 1, math.huge, {}
local function next_in_ring() -- a merchant and its pass; nil: there is none
  if not round[at] or again_from <= tonumber(round[at + 1]) then
    if #emptied > 0 then redis.call('ZREM', RING, unpack(emptied)) end
    round, at, again_from, emptied = redis.call('ZRANGE', RING, skipped, skipped + ROUND - 1, 'WITHSCORES'), 1, math.huge, {}
  end
  at = at + 2
  return round[at - 2], round[at - 1]
end
-- These take up to `wanted` jobs of a merchant. They answer them as members and bundles, how many they are, and whether
-- any is left.
local function pop_singles(merchant, wanted)
  -- One more shows whether any is left. ZPOPMIN would write the scores out.
  local popped = redis.call('ZRANGE', READY .. merchant, 0, wanted)
  if #popped <= wanted then
    redis.call('DEL', READY .. merchant)
    return popped, #popped, false
  end
  popped[#popped] = nil
  redis.call('ZREMRANGEBYRANK', READY .. merchant, 0, wanted - 1)
  return popped, wanted, true
end
local function pop_with_bundles(merchant, wanted)
  local singles, popped, got, of_bundles = READY .. merchant, {}, 0, 0
  while got < wanted do
    local first = redis.call('ZRANGE', BUNDLES .. merchant, 0, 0, 'WITHSCORES')
    local before = redis.call('ZRANGEBYSCORE', singles, '-inf', first[2] or '+inf', 'LIMIT', 0, wanted - got)
    if #before > 0 then
      redis.call('ZREMRANGEBYRANK', singles, 0, #before - 1)
      for _, member in ipairs(before) do popped[#popped + 1] = member end
      got = got + #before
    elseif first[1] then
      local bundle = take_first_of_bundle(merchant, first[1], first[2], wanted - got)
      popped[#popped + 1] = bundle
      got, of_bundles = got + jobs_in(bundle), of_bundles + jobs_in(bundle)
    else
      break
    end
  end
  if of_bundles > 0 then unbundled(merchant, of_bundles) end
  return popped, got, redis.call('EXISTS', singles, BUNDLES .. merchant) > 0
end
while taken < most do
  local merchant, pass = next_in_ring()
  if not merchant then break end
  local terms = redis.call('HMGET', TERMS .. merchant, 'weight', 'max_concurrency', 'rate', 'active')
  local allowed = allowance[merchant] or most_each
  local wanted = math.min(quantum, most - taken, allowed)
  if wanted <= 0 then
    wanted = 0
    look_again_in(20)
  elseif not terms[1] then
    unknown[#unknown + 1] = merchant
    wanted = 0
  elseif terms[4] == '0' then
    gone = gone + redis.call('ZCARD', READY .. merchant) + bundled_of(merchant)
    redis.call('DEL', READY .. merchant, BUNDLES .. merchant)
    redis.call('HDEL', BUNDLED, merchant)
    emptied[#emptied + 1] = merchant
    wanted = -1
  end
  if wanted > 0 and terms[2] ~= '' then
    redis.call('ZREMRANGEBYSCORE', HELD .. merchant, '-inf', now)
    wanted = math.min(wanted, tonumber(terms[2]) - redis.call('ZCARD', HELD .. merchant))
    if wanted <= 0 then look_again_in(20) end
  end
  local interval, arrival
  if wanted > 0 and terms[3] ~= '' then -- GCRA with a tolerance of 100 ms
    interval = 1000 / tonumber(terms[3])
    arrival = math.max(now, tonumber(redis.call('GET', RATE .. merchant) or 0))
    local tolerance = math.max(100, interval)
    wanted = math.min(wanted, math.floor((now + tolerance - arrival) / interval + 0.000001))
    if wanted <= 0 then look_again_in(math.max(1, math.ceil(arrival + interval - tolerance - now))) end
  end
  if wanted == 0 or (wanted < 0 and terms[4] ~= '0') then
    skipped = skipped + 1
  elseif wanted > 0 then
    local popped, got, has_more_of_it
    if has_bundles and bundled_of(merchant) > 0 then
      popped, got, has_more_of_it = pop_with_bundles(merchant, wanted)
    else
      popped, got, has_more_of_it = pop_singles(merchant, wanted)
    end
    if has_more_of_it then
      again_from = math.min(again_from, tonumber(redis.call('ZINCRBY', RING, got / tonumber(terms[1]), merchant)))
    else
      emptied[#emptied + 1] = merchant
    end
    if got > 0 then
      lines[#lines + 1] = table.concat(popped, '\n')
      taken = taken + got
    end
    allowance[merchant] = allowed - got
    gone, vtime = gone + got, pass
    if terms[2] ~= '' then
      local held, held_until = {}, string.format('%.0f', now + tonumber(ARGV[7]))
      for _, member in ipairs(popped) do
        for i = 1, jobs_in(member) do
          held[#held + 1] = held_until
          held[#held + 1] = string.sub(member, 32 * i + 1, 32 * i + 32)
        end
      end
      add(HELD .. merchant, held)
      redis.call('PEXPIRE', HELD .. merchant, 3600000)
    end
    if interval then redis.call('SET', RATE .. merchant, arrival + got * interval, 'PX', 60000) end
  end
end
if #emptied > 0 then redis.call('ZREM', RING, unpack(emptied)) end
if gone > 0 then redis.call('DECRBY', COUNT, gone) end
if vtime then redis.call('SET', VTIME, vtime) end
lines = table.concat(lines, '\n')
if taken > 0 then
  redis.call('HSET', POPPED, ARGV[5], lines)
  redis.call('ZADD', POPPED_UNTIL, now + tonumber(ARGV[6]), ARGV[5])
end

local missing = 0
if redis.call('EXISTS', EPOCH) == 0 then missing = 1 + redis.call('EXISTS', FILLING) end
local to_come = tonumber(redis.call('GET', LATER_COUNT) or 0)
local left = tonumber(redis.call('GET', COUNT) or 0) + to_come
local head = next_due()
if head then look_again_in(math.max(0, head - lead - now)) end
if doubtful_until > 0 then look_again_in(doubtful_until - now) end
local next_return = redis.call('ZRANGE', POPPED_UNTIL, 0, 0, 'WITHSCORES')[2]
if next_return and taken == 0 then look_again_in(math.max(0, tonumber(next_return) - now)) end
return {
  lines, math.floor(soonest), left, to_come, missing, has_more() and 1 or 0,
  math.min(1, redis.call('EXISTS', LIGHT, LEFT_OUT_FROM, TURNED_AWAY_FROM)), unknown,
}
