-- Adds hints: what is due already goes straight to its merchant's queue, so that it never stands behind another's backlog.
-- The set holds what is due first: where there is too little room, what is due last of all that is to come goes out again.
-- ARGV: now_ms, most entries, linger_ms, the most that a filling may bring it to or 0 where this is none, when the earliest
--       is due in ms, the entries of the due set, then (merchant, the entries of its queue) pairs. Entries are JSON,
--       ["score", "member", "score", "member", ...]: to decode them costs less than as many arguments, and numbers would
--       have to be written out again.
-- Answers: [1 if the caller must invoke an executor, how many of the hints were left out for want of room]
local now, most, fill_most, earliest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local is_filling = fill_most > 0
local head = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
head = head and tonumber(head)
local later, queues, coming = cjson.decode(ARGV[6]), {}, 0
for i = 7, #ARGV, 2 do
  queues[i - 6] = ARGV[i]
  queues[i - 5] = cjson.decode(ARGV[i + 1])
  coming = coming + #queues[i - 5] / 2
end

local left_out, left_out_from = 0, nil
local function leave_out(count, due)
  left_out = left_out + count
  if not left_out_from or due < left_out_from then left_out_from = due end
end

-- What is due. Only others that are due can keep it out.
local ready, made_ready, has_newcomer = tonumber(redis.call('GET', COUNT) or 0), 0, false
local ready_most = is_filling and fill_most or most
if ready + coming <= ready_most then
  has_newcomer, made_ready = make_ready(queues)
else -- one by one: what is there already needs no room
  local beyond = most + math.floor(most / 16) -- for those who have nothing ready
  local at, is_over = 1, false
  while not is_over do -- in turns, so that no merchant takes the room of the others
    is_over = true
    for i = 1, #queues, 2 do
      local score, member = queues[i + 1][at], queues[i + 1][at + 1]
      if score then
        is_over = false
        local total = ready + made_ready
        if total < ready_most or (total < beyond and redis.call('EXISTS', READY .. queues[i]) == 0) then
          local is_newcomer, added = make_ready({queues[i], {score, member}})
          has_newcomer = has_newcomer or is_newcomer
          made_ready = made_ready + added
        else
          leave_out(1, score % PRIORITY_STEP)
        end
      end
    end
    at = at + 2
  end
end

-- What is to come. A filling may bring the set to no more than its share, but nobody else's entries go out for that.
local to_come = add(DUE, later)
local size_of_due = redis.call('ZCARD', DUE)
local size = ready + made_ready + size_of_due
local surplus = math.min(size - most, made_ready + to_come)
if is_filling then surplus = math.max(surplus, math.min(size - fill_most, to_come)) end
surplus = math.min(surplus, size_of_due)
if surplus > 0 then
  local first = tonumber(redis.call('ZRANGE', DUE, -surplus, -surplus, 'WITHSCORES')[2])
  redis.call('ZREMRANGEBYRANK', DUE, -surplus, -1)
  local last = 0
  for i = 1, #later, 2 do last = math.max(last, later[i]) end
  -- A filling comes by in the order of due times, and so by what goes out behind its own.
  if not is_filling or last >= first then leave_out(surplus, first) end
end
-- A filling knows where it stopped.
if left_out > 0 and not is_filling then
  local known = tonumber(redis.call('GET', LEFT_OUT_FROM) or left_out_from)
  redis.call('SET', LEFT_OUT_FROM, string.format('%.0f', math.min(known, left_out_from)), 'EX', 300)
end

if earliest > guarded_until(now, tonumber(ARGV[3])) then return {0, left_out} end
if awake_at(now) == 0 then
  return {redis.call('SET', WAKING, '1', 'NX', 'PX', 2000) and 1 or 0, left_out}
end
if has_newcomer then
  redis.call('PUBLISH', WAKE, 'newcomer')
elseif not head or earliest < head then
  redis.call('PUBLISH', WAKE, earliest)
end
return {0, left_out}
