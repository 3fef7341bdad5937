-- Tells waiting workers of `tasks` tasks that can be leased now (`all`: each shall look), or
-- of one that can be `due` milliseconds from now. The message: count of such moments, which is
-- the answer, tasks, milliseconds, known workers.
local function wake(tasks, due)
  local count = call('HINCRBY', KEYS[1], 'work', 1)
  local workers = call('HLEN', P .. 'seats')
  call('PUBLISH', P .. 'wake', count .. ' ' .. tasks .. ' ' .. (due or 0) .. ' ' .. workers)
  return count
end
