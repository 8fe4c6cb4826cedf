-- Adds hints: what is due already goes straight to its merchant's queue, so that it never stands behind another's backlog.
-- ARGV: now_ms, most entries, linger_ms, how many hints, when the earliest is due in ms, the entries of the due set, then
--       (merchant, the entries of its queue) pairs. Entries are JSON, ["score", "member", "score", "member", ...]: to
--       decode them costs less than as many arguments, and numbers would have to be written out again.
-- Answers: [1 if the caller must invoke an executor, how many hints were left out for want of room]
local now, most, count, earliest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local size = redis.call('ZCARD', DUE) + tonumber(redis.call('GET', COUNT) or 0)
local head = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
head = head and tonumber(head)
local later, queues, left_out, has_newcomer = cjson.decode(ARGV[6]), {}, 0, false
for i = 7, #ARGV, 2 do
  queues[i - 6] = ARGV[i]
  queues[i - 5] = cjson.decode(ARGV[i + 1])
end
if size + count <= most then
  has_newcomer = make_ready(queues)
  add(DUE, later)
else -- one by one: what is there already needs no room
  local beyond = most + math.floor(most / 16) -- for those who have nothing ready
  local function add_if_room(adding, newcomer)
    if size >= most and not (newcomer and size < beyond and redis.call('EXISTS', READY .. newcomer) == 0) then
      left_out = left_out + 1
    else
      size = size + adding()
    end
  end
  local at, is_over = 1, false
  while not is_over do -- in turns, so that no merchant takes the room of the others
    is_over = true
    for i = 1, #queues, 2 do
      local entries = queues[i + 1]
      if entries[at] then
        is_over = false
        add_if_room(function()
          local is_newcomer, added = make_ready({queues[i], {entries[at], entries[at + 1]}})
          has_newcomer = has_newcomer or is_newcomer
          return added
        end, queues[i])
      end
    end
    at = at + 2
  end
  for i = 1, #later, 2 do
    add_if_room(function() return redis.call('ZADD', DUE, later[i], later[i + 1]) end)
  end
end
if left_out > 0 then redis.call('SET', MORE, '1') end
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
