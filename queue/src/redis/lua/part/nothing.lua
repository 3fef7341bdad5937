-- Nothing for it: when a task that it could do may be ready.
local function nothing(memory, tags)
  local wait = -1
  local delays = call('ZRANGE', P .. 'delays', 0, 99, 'WITHSCORES')
  for i = 1, #delays, 2 do
    local delayed, layer_at = string.match(delays[i], '^(%x+)/(%d+)/')
    local j = job_of(delayed)
    local due = tonumber(delays[i + 1]) - now
    if j and j.paused == 0 and j.cancelled == 0
      and fits(call('HGET', j.key, 'c' .. layer_at), memory, tags) then
      wait = due
      break
    end
    -- There are more: look again by then.
    if i == 199 then wait = due end
  end
  return {'nothing', tonumber(farm[2] or 0), wait}
end
