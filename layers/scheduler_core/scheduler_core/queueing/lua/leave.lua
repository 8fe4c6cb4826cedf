-- An executor that holds nothing asks whether it may go. In one step with the answer it is no longer counted as awake,
-- so that no hint is added in between without somebody being woken for it. The last one stays while something falls due
-- before the next tick, or something may be missing in the set; the others go as soon as those who stay are enough.
-- ARGV: now_ms, linger_ms, executor, due jobs for each executor
-- Answers: 1 if it has left, 0 if it is to stay
local now = tonumber(ARGV[1])
local others = awake_at(now, ARGV[3])
local ready = tonumber(redis.call('GET', COUNT) or 0)
if others > 0 then
  local due = ready + fallen_due(now)
  if has_more() or due > others * tonumber(ARGV[4]) then return 0 end
else
  local head = next_due()
  if ready > 0 or redis.call('EXISTS', POPPED_UNTIL, DOUBT) > 0
     or redis.call('EXISTS', EPOCH) == 0 or (head and head <= guarded_until(now, tonumber(ARGV[2]))) then
    return 0
  end
end
redis.call('ZREM', EXECUTORS, ARGV[3])
return 1
