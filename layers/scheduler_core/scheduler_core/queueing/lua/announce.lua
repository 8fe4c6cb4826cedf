-- Adds hints: what is due already goes straight to its merchant's queue, so that it never stands behind another's backlog.
-- ARGV: now_ms, most entries, linger_ms, then (due_ms, member) pairs.
-- Answers: [1 if the caller must invoke an executor, how many hints were left out for want of room]
local now, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local size = redis.call('ZCARD', DUE) + tonumber(redis.call('GET', COUNT) or 0)
local head = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
head = head and tonumber(head)
local earliest, left_out = nil, 0
for i = 4, #ARGV, 2 do
  local due = tonumber(ARGV[i])
  if size >= most then
    left_out = left_out + 1
  elseif due <= now then
    make_ready(ARGV[i + 1], due)
    size = size + 1
  else
    size = size + redis.call('ZADD', DUE, due, ARGV[i + 1])
  end
  if not earliest or due < earliest then earliest = due end
end
if left_out > 0 then redis.call('SET', MORE, '1') end
if not earliest or earliest > guarded_until(now, tonumber(ARGV[3])) then return {0, left_out} end
local awake = redis.call('ZCOUNT', EXECUTORS, now, '+inf')
if awake == 0 then
  return {redis.call('SET', WAKING, '1', 'NX', 'PX', 2000) and 1 or 0, left_out}
end
if not head or earliest < head then redis.call('PUBLISH', WAKE, earliest) end
return {0, left_out}
