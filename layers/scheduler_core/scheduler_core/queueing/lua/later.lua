-- What is to come: a set for each merchant by due time, so that what falls due of one is not behind all that falls due with
-- it of another. HEADS and TAILS know the merchants by when their first and their last is due: no later than the first, no
-- sooner than the last. One of whose jobs that have fallen due some were left at its turn is in HEADS by that turn, and so
-- behind those that have had none: where many merchants' jobs fall due at once, nobody's second comes before another's first.
local LATER, HEADS, TAILS, LATER_COUNT = base .. ':later:', base .. ':heads', base .. ':tails', base .. ':later_count'
local MERCHANTS_AT_ONCE, AT_LATER_TURNS, NEWCOMERS_AT_ONCE = 1000, 250, 100
local AFTER_DUE_MS = 0.5 -- a turn is so much later than what fell due with it, so that it comes after that
local MOST_LEAD_MS = 1000 -- and it may be so much later than the clock
local A_FEW = 3

-- They have nothing to come any more.
local function forget(merchants)
  redis.call('ZREM', HEADS, unpack(merchants))
  redis.call('ZREM', TAILS, unpack(merchants))
end

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
-- {member, due_ms, member, due_ms, ...}, ...}, and how many that are in all.
local function take_fallen(merchants, until_ms, each)
  local fallen, total, heads, emptied = {}, 0, {}, {}
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
      heads[#heads + 1] = math.max(tonumber(head), until_ms + AFTER_DUE_MS)
      heads[#heads + 1] = merchant
    else
      emptied[#emptied + 1] = merchant
    end
  end
  if #heads > 0 then redis.call('ZADD', HEADS, unpack(heads)) end
  if #emptied > 0 then forget(emptied) end
  if total > 0 then redis.call('DECRBY', LATER_COUNT, total) end
  return fallen, total
end

-- Takes the `count` that are due last of all that is to come out of it; answers when the first of them is due. Merchants whose
-- last are due at the same time lose a quarter of those each, one after the other, so that nobody loses all for his id; who
-- has a few of them loses none, unless a hundred others have no more.
local function cut_off(count)
  local left, from, place, tied, before, spares_few = count, math.huge, 0, nil, count, true
  while left > 0 do
    local two = redis.call('ZREVRANGE', TAILS, place, place + 1, 'WITHSCORES')
    local merchant, tail, others_last = two[1], two[2], two[4] or '-inf'
    if place > 0 and (tail ~= tied or place % 100 == 0 and left == before) then -- all of them have had their turn, or enough
      spares_few = spares_few and left < before
      place, before = 0, left
    elseif not merchant then
      break
    else
      local key, most = LATER .. merchant, nil
      if place > 0 or tail == others_last then
        tied = tail
        most = redis.call('ZCOUNT', key, tail, '+inf') / 4
        most = spares_few and math.floor(most) or math.ceil(most)
      else
        most = redis.call('ZCOUNT', key, '(' .. others_last, '+inf')
      end
      most = math.min(left, most) -- none: its last is sooner than TAILS says
      if most > 0 then
        from = math.min(from, tonumber(redis.call('ZRANGE', key, -most, -most, 'WITHSCORES')[2]))
        redis.call('ZREMRANGEBYRANK', key, -most, -1)
        left = left - most
      end
      local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
      if not last then
        forget({merchant})
      elseif last == tail then
        place = place + 1
      else
        redis.call('ZADD', TAILS, last, merchant)
      end
    end
  end
  redis.call('DECRBY', LATER_COUNT, count - left)
  return from
end

-- When the first of what is to come is due, or a little before, or its merchant's last turn if that was later; nil: nothing
-- is to come.
local function next_due()
  local head = redis.call('ZRANGE', HEADS, 0, 0, 'WITHSCORES')[2]
  return head and tonumber(head)
end

-- Up to `most` merchants of whom something has fallen due by then, those first whose turn it is.
local function with_fallen(until_ms, most)
  return redis.call('ZRANGEBYSCORE', HEADS, '-inf', until_ms + AFTER_DUE_MS, 'LIMIT', 0, most)
end

-- Whether even the first of these has had a turn; then the others have had one too, or have something due since.
local function had_turns()
  local head = next_due()
  return head and head % 1 == AFTER_DUE_MS
end

-- Up to `most` merchants of whom the first has fallen due since others had their last turn.
local function newly_fallen(until_ms, most)
  local last, newcomers = redis.call('ZREVRANGEBYSCORE', HEADS, until_ms, '-inf', 'WITHSCORES', 'LIMIT', 0, most), {}
  for i = 1, #last, 2 do
    if tonumber(last[i + 1]) % 1 == AFTER_DUE_MS then break end
    newcomers[#newcomers + 1] = last[i]
  end
  return newcomers
end

-- How much of what was to come is due by now.
local function fallen_due(now)
  local count = 0
  for _, merchant in ipairs(with_fallen(now + MOST_LEAD_MS, MERCHANTS_AT_ONCE)) do
    count = count + redis.call('ZCOUNT', LATER .. merchant, '-inf', now)
  end
  return count
end
