-- Offers the tasks whose pause is over, up to 1,000 at a time, and notes when the next one's
-- is. A lease that finds some due asks for this first.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- Answers  {'ok'}
-- include open clock events spare bitmap job held offers entries tasks

spare()
local due = call('ZRANGEBYSCORE', P .. 'delays', '-inf', now, 'LIMIT', 0, 1000)
for _, member in ipairs(due) do
  call('ZREM', P .. 'delays', member)
  local id, at, index = string.match(member, '^(%x+)/(%d+)/(%d+)$')
  local j = job_of(id)
  -- A job that was cancelled or forgotten may have left some here.
  if j and j.cancelled == 0 then
    local l, field = layer(j, tonumber(at)), at .. '/' .. index
    local entry = read_entry(call('HGET', j.key, field))
    entry.state = 'W'
    call('HSET', j.key, field, pack_entry(entry))
    l.delayed = l.delayed - 1
    l.changed = true
    offer(j, l, tonumber(index))
  end
end
for _, j in pairs(jobs) do
  if j and j.cancelled == 0 then
    for at = 0, j.size - 1 do
      if j.layers[at] then offer_layer(j, j.layers[at]) end
    end
    settle_state(j)
  end
end
store_jobs()
local next_ = call('ZRANGE', P .. 'delays', 0, 0, 'WITHSCORES')
if next_[2] then
  call('HSET', KEYS[1], 'due', next_[2])
else
  call('HDEL', KEYS[1], 'due')
end
publish()
return {'ok'}
