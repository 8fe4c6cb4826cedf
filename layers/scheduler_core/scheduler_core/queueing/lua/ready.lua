-- What is ready: a queue for each merchant, by priority and due time; RING knows those who have one.

-- Puts entries into merchants' queues; `queues` is {merchant, entries as for `add`, merchant, entries, ...}.
-- Answers whether a merchant is among them that had nothing ready, and how many entries are new.
local function make_ready(queues)
  local total, comers, vtime = 0, {}, nil
  for i = 1, #queues, 2 do
    local added = add(READY .. queues[i], queues[i + 1])
    if added > 0 then
      vtime = vtime or redis.call('GET', VTIME) or 0
      comers[#comers + 1] = vtime
      comers[#comers + 1] = queues[i]
      total = total + added
    end
  end
  if total == 0 then return false, 0 end
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
