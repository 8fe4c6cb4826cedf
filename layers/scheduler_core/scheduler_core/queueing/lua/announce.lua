-- Adds hints: what is due already goes straight to its merchant's queue, so that it never stands behind another's backlog.
-- The set holds what is due first: where there is too little room, what is due last of all that is to come goes out again;
-- and until a filling brings what is missing, nothing comes in behind it. Else room that becomes free would be taken by what
-- is due later, and what is missing would miss its time.
-- ARGV: now_ms, most entries, linger_ms, where they come from ('announced', 'filling', 'filling anew', 'beside'), when the
--       earliest is due in ms, then (merchant, the entries of its queue, its entries to come) three by three. Entries are
--       JSON, ["score", "member", "score", "member", ...]: to decode them costs less than as many arguments, and numbers
--       would have to be written out again. The queue's entries of a filling may be bundles.
-- Answers: [1 if the caller must invoke an executor, how many of the hints were left out for want of room]
local now, most, earliest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
local is_announced, is_anew = ARGV[4] == 'announced', ARGV[4] == 'filling anew'
local is_filling = is_anew or ARGV[4] == 'filling'
if is_anew then drop_bundles() end
local head = next_due()
local function decoded(place) -- of each merchant's three: {merchant, entries, merchant, entries, ...}
  local queues = {}
  for i = 6, #ARGV, 3 do
    if ARGV[i + place] ~= '[]' then
      queues[#queues + 1] = ARGV[i]
      queues[#queues + 1] = cjson.decode(ARGV[i + place])
    end
  end
  return queues
end

-- What is due. Only others that are due can keep it out.
local ready, made_ready, has_newcomer, left_out, turned_away_from = make_ready_in_room(decoded(1), most, is_filling)
if turned_away_from and not is_filling then remember(TURNED_AWAY_FROM, turned_away_from) end

-- What is to come. A filling may bring the set to no more than its share, but nobody else's entries go out for that.
local left_out_from
local function leave_out(count, due)
  left_out, left_out_from = left_out + count, math.min(left_out_from or due, due)
end
local later, frontier = decoded(2), math.huge
if is_announced and #later > 0 then
  for _, from in ipairs(redis.call('MGET', LEFT_OUT_FROM, FILLED_UNTIL)) do
    frontier = math.min(frontier, tonumber(from or frontier))
  end
end
if frontier < math.huge then
  local queues = {}
  for i = 1, #later, 2 do
    local entries, sooner = later[i + 1], {}
    for j = 1, #entries, 2 do
      local due = tonumber(entries[j])
      if due < frontier then
        sooner[#sooner + 1] = entries[j]
        sooner[#sooner + 1] = entries[j + 1]
      else
        leave_out(1, due)
      end
    end
    if #sooner > 0 then
      queues[#queues + 1] = later[i]
      queues[#queues + 1] = sooner
    end
  end
  later = queues
end
local to_come, last = add_later(later)
local size_of_later = tonumber(redis.call('GET', LATER_COUNT) or 0)
local size = ready + size_of_later
local surplus = math.min(size - most, made_ready + to_come)
if is_filling then surplus = math.max(surplus, math.min(size - share_of(most), to_come)) end
surplus = math.min(surplus, size_of_later)
if surplus > 0 then
  local first = cut_off(surplus)
  -- A filling comes by in the order of due times, and so by what goes out behind its own.
  if not is_filling or last >= first then leave_out(surplus, first) end
end
-- A filling knows where it stopped.
if left_out_from and not is_filling then remember(LEFT_OUT_FROM, left_out_from) end

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
