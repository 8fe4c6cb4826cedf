-- Adds hints: what is due already goes straight to its merchant's queue, so that it never stands behind another's backlog.
-- ARGV: now_ms, most entries, linger_ms, then (due_ms, member) pairs.
-- Answers: [1 if the caller must invoke an executor, how many hints were left out for want of room]
local now, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local size = redis.call('ZCARD', DUE) + tonumber(redis.call('GET', COUNT) or 0)
local head = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
head = head and tonumber(head)
local earliest, left_out, ready, later, has_newcomer = nil, 0, {}, {}, false
local function add_all()
  has_newcomer = make_ready(ready) or has_newcomer
  for i = 1, #later, WORDS do
    size = size + redis.call('ZADD', DUE, unpack(later, i, math.min(i + WORDS - 1, #later)))
  end
  size, ready, later = size + #ready / 2, {}, {}
end
local is_tight = size + (#ARGV - 3) / 2 > most -- then one by one: what is there already needs no room
for i = 4, #ARGV, 2 do
  local due, member = tonumber(ARGV[i]), ARGV[i + 1]
  if size >= most then
    left_out = left_out + 1
  elseif due <= now then
    ready[#ready + 1] = member
    ready[#ready + 1] = due
  else
    later[#later + 1] = ARGV[i] -- as it came: a number would have to be written out again
    later[#later + 1] = member
  end
  if is_tight then add_all() end
  if not earliest or due < earliest then earliest = due end
end
add_all()
if left_out > 0 then redis.call('SET', MORE, '1') end
if not earliest or earliest > guarded_until(now, tonumber(ARGV[3])) then return {0, left_out} end
local awake = redis.call('ZCOUNT', EXECUTORS, now, '+inf')
if awake == 0 then
  return {redis.call('SET', WAKING, '1', 'NX', 'PX', 2000) and 1 or 0, left_out}
end
if has_newcomer then
  redis.call('PUBLISH', WAKE, 'newcomer')
elseif not head or earliest < head then
  redis.call('PUBLISH', WAKE, earliest)
end
return {0, left_out}
