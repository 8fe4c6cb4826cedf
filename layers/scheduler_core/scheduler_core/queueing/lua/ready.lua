-- What is ready: for each merchant a queue of single jobs and one of bundles, both by priority and due time; BUNDLED knows
-- how many jobs are in its bundles, and RING the merchants that have anything. A bundle stands where the first of it would.

local function jobs_in(member) return math.floor((#member - 33) / 32) end
local function is_bundle(member) return #member > 69 end
local function priority_in(member) return string.sub(member, 32 * jobs_in(member) + 33) end -- with its colon

-- How many jobs are in a merchant's bundles.
local function bundled_of(merchant) return tonumber(redis.call('HGET', BUNDLED, merchant) or 0) end

-- So many fewer are in them.
local function unbundled(merchant, count)
  if redis.call('HINCRBY', BUNDLED, merchant, -count) <= 0 then redis.call('HDEL', BUNDLED, merchant) end
end

-- A bundle's jobs, each as a member by itself.
local function members_in(bundle)
  local merchant, priority, members = string.sub(bundle, 1, 32), priority_in(bundle), {}
  for i = 1, jobs_in(bundle) do
    members[i] = merchant .. string.sub(bundle, 32 * i + 1, 32 * i + 32) .. priority
  end
  return members
end

-- A bundle with less of its jobs: those from `first` to `last`.
local function part_of(bundle, first, last)
  return string.sub(bundle, 1, 32) .. string.sub(bundle, 32 * first + 1, 32 * last + 32) .. priority_in(bundle)
end

-- Takes up to `most` jobs out of the first of a merchant's bundles, which has this score; answers them as a bundle.
local function take_first_of_bundle(merchant, bundle, score, most)
  local size = jobs_in(bundle)
  redis.call('ZREMRANGEBYRANK', BUNDLES .. merchant, 0, 0)
  if size > most then
    redis.call('ZADD', BUNDLES .. merchant, score, part_of(bundle, most + 1, size))
    bundle = part_of(bundle, 1, most)
  end
  return bundle
end

-- Takes the last job out of the last of a merchant's bundles.
local function take_last_of_bundle(merchant)
  local last = redis.call('ZRANGE', BUNDLES .. merchant, -1, -1, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', BUNDLES .. merchant, -1, -1)
  local size = jobs_in(last[1])
  if size > 1 then redis.call('ZADD', BUNDLES .. merchant, last[2], part_of(last[1], 1, size - 1)) end
  unbundled(merchant, 1)
end

-- Adds bundles, {score, bundle, ...}, to a merchant's. Jobs that were ready by themselves are so no more.
-- Answers how many jobs more are ready.
local function add_bundles(merchant, bundles)
  local key, added = READY .. merchant, 0
  local has_singles = redis.call('EXISTS', key) == 1
  for i = 1, #bundles, 2 do
    if redis.call('ZADD', BUNDLES .. merchant, bundles[i], bundles[i + 1]) == 1 then
      added = added + jobs_in(bundles[i + 1])
    end
  end
  if added > 0 then redis.call('HINCRBY', BUNDLED, merchant, added) end
  if has_singles then
    for i = 2, #bundles, 2 do added = added - redis.call('ZREM', key, unpack(members_in(bundles[i]))) end
  end
  return added
end

-- Forgets all bundles: somebody reads everything anew. Until that is done the set is not whole.
local function drop_bundles()
  local counts = redis.call('HGETALL', BUNDLED)
  if #counts == 0 then return end
  local total = 0
  for i = 1, #counts, 2 do
    redis.call('DEL', BUNDLES .. counts[i])
    total = total + tonumber(counts[i + 1])
  end
  redis.call('DEL', BUNDLED, EPOCH)
  redis.call('DECRBY', COUNT, total)
end

-- Takes bundles out of `queues`, as for `make_ready`; answers them in the same form, and how many jobs are in them.
local function take_bundles(queues)
  local all, total = {}, 0
  for i = 1, #queues, 2 do
    local singles, bundles, entries = {}, {}, queues[i + 1]
    for j = 1, #entries, 2 do
      local kind = is_bundle(entries[j + 1]) and bundles or singles
      kind[#kind + 1] = entries[j]
      kind[#kind + 1] = entries[j + 1]
    end
    if #bundles > 0 then
      queues[i + 1] = singles
      all[#all + 1] = queues[i]
      all[#all + 1] = bundles
      for j = 2, #bundles, 2 do total = total + jobs_in(bundles[j]) end
    end
  end
  return all, total
end

-- Puts entries into merchants' queues; `queues` is {merchant, entries as for `add`, merchant, entries, ...}, `bundles` the
-- same or nil. Answers whether a merchant is among them that had nothing ready, and how many jobs are new.
local function make_ready(queues, bundles)
  local total, comers, vtime = 0, {}, nil
  local function count(merchant, added)
    if added ~= 0 then
      vtime = vtime or redis.call('GET', VTIME) or 0
      comers[#comers + 1] = vtime
      comers[#comers + 1] = merchant
      total = total + added
    end
  end
  for i = 1, #queues, 2 do
    if #queues[i + 1] > 0 then count(queues[i], add(READY .. queues[i], queues[i + 1])) end
  end
  if bundles then
    for i = 1, #bundles, 2 do count(bundles[i], add_bundles(bundles[i], bundles[i + 1])) end
  end
  if #comers == 0 then return false, 0 end
  redis.call('INCRBY', COUNT, total)
  return add(RING, comers, 'NX') > 0, total
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
  local before, bundles, coming = tonumber(redis.call('GET', COUNT) or 0), nil, 0
  if is_filling then bundles, coming = take_bundles(queues) end -- nobody else brings any
  for i = 2, #queues, 2 do coming = coming + #queues[i] / 2 end
  if before + coming <= share_of(most) then -- no queue can be too long
    local has_newcomer, added = make_ready(queues, bundles)
    return before + added, added, has_newcomer, 0, nil
  end
  for i = 1, #(bundles or {}), 2 do -- where room is short each job is looked at
    local singles, of_merchant = {}, bundles[i + 1]
    for j = 1, #of_merchant, 2 do
      for _, member in ipairs(members_in(of_merchant[j + 1])) do
        singles[#singles + 1] = of_merchant[j]
        singles[#singles + 1] = member
      end
    end
    queues[#queues + 1] = bundles[i]
    queues[#queues + 1] = singles
  end
  local ready_most, beyond = is_filling and share_of(most) or most, most + math.floor(most / 16)
  local ready, has_newcomer, left_out, left_out_from, lengths, last_scores = before, false, 0, nil, {}, {}
  local has_bundles = redis.call('EXISTS', BUNDLED) == 1
  local function last_score(key) return tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] or 0) end
  local function replaces_last(merchant, score, member)
    if is_filling then return nil end
    local key, bundles_key = READY .. merchant, BUNDLES .. merchant
    local lasts = last_scores[merchant] or {last_score(key), has_bundles and last_score(bundles_key) or 0}
    last_scores[merchant] = lasts
    local replaced = math.max(lasts[1], lasts[2])
    if score >= replaced or redis.call('ZADD', key, score, member) == 0 then return nil end
    if lasts[1] >= lasts[2] then
      redis.call('ZREMRANGEBYRANK', key, -1, -1)
    else
      take_last_of_bundle(merchant)
    end
    last_scores[merchant] = nil
    return replaced
  end
  local at, is_over = 1, false
  while not is_over do -- in turns, so that no merchant takes the room of the others
    is_over = true
    for i = 1, #queues, 2 do
      local key, score, member = READY .. queues[i], tonumber(queues[i + 1][at]), queues[i + 1][at + 1]
      if score then
        is_over = false
        local merchant = queues[i]
        local length = lengths[merchant] or redis.call('ZCARD', key) + (has_bundles and bundled_of(merchant) or 0)
        if (ready < ready_most and length < ROOM_SHARE * (most - ready)) or (ready < beyond and length == 0) then
          local added = redis.call('ZADD', key, score, member) -- what is there already needs no room
          if length == 0 then
            has_newcomer = redis.call('ZADD', RING, 'NX', redis.call('GET', VTIME) or 0, merchant) == 1 or has_newcomer
          end
          ready, length = ready + added, length + added
        else
          score = replaces_last(merchant, score, member) or score
          left_out = left_out + 1
          left_out_from = math.min(left_out_from or math.huge, score % PRIORITY_STEP)
        end
        lengths[merchant] = length
      end
    end
    at = at + 2
  end
  if ready > before then redis.call('INCRBY', COUNT, ready - before) end
  return ready, ready - before, has_newcomer, left_out, left_out_from
end
