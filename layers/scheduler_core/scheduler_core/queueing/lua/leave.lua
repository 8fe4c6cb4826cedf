-- An executor asks whether it may go. In one step with the answer it is no longer counted as awake, so that no hint
-- is added in between without somebody being woken for it.
-- ARGV: now_ms, linger_ms, executor
-- Answers: 1 if it has left, 0 if it is to stay
local now = tonumber(ARGV[1])
local head = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
if tonumber(redis.call('GET', COUNT) or 0) > 0 or redis.call('EXISTS', POPPED_UNTIL) == 1
   or (head and tonumber(head) <= now + tonumber(ARGV[2])) then
  return 0
end
redis.call('ZREM', EXECUTORS, ARGV[3])
return 1
