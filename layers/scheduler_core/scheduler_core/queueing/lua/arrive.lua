-- An executor that was just invoked asks whether it is needed; if so it counts as awake from the same step on, so that
-- of many that come at once only as many stay as there is work for.
-- ARGV: now_ms, linger_ms, executor, due jobs for each executor, how long a tick is remembered in ms or 0
-- Answers: 'needed', 'idle' if nothing falls due before the next tick, or 'enough' if enough others are awake
local now, per_executor, ticked_for = tonumber(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])
if ticked_for > 0 then redis.call('SET', TICKED, now, 'PX', ticked_for) end
-- Whoever was waking an executor has woken this one. It decides in this very step, so nothing is announced in between;
-- if it goes, the next announcement must wake another at once.
redis.call('DEL', WAKING)
local awake, ready = awake_at(now), tonumber(redis.call('GET', COUNT) or 0)
local more = has_more()
if awake > 0 then
  if not more and ready + fallen_due(now) <= awake * per_executor then return 'enough' end
elseif ready == 0 and not more and redis.call('EXISTS', POPPED_UNTIL, DOUBT) == 0 and redis.call('EXISTS', EPOCH) == 1 then
  local head = next_due()
  if not head or head > guarded_until(now, tonumber(ARGV[2])) then return 'idle' end
end
redis.call('ZADD', EXECUTORS, now + PRESENCE_MS, ARGV[3])
return 'needed'
