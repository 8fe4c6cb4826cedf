-- How much waits and who is awake. ARGV: now_ms
-- Answers: [jobs due by now, all jobs, executors awake]
local now = tonumber(ARGV[1])
local ready = tonumber(redis.call('GET', COUNT) or 0)
redis.call('ZREMRANGEBYSCORE', EXECUTORS, '-inf', now - 60000)
return {ready + fallen_due(now), ready + tonumber(redis.call('GET', LATER_COUNT) or 0), awake_at(now)}
