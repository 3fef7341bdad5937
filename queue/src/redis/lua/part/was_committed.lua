-- Whether an attempt was committed, for a client that lost the answer. part/commit.lua remembers
-- a run of one lease's tasks, whose tokens count up in their last three digits, as `c<how many>`
-- under the first one's token.
local function was_committed(token, memory)
  local lease, number = string.sub(token, 1, 13), tonumber(string.sub(token, 14), 16)
  local names = {}
  for before = 0, number do
    names[before + 1] = lease .. string.format('%03x', number - before)
  end
  for age = 0, 1 do
    local found = call('HMGET', settled_at(memory, age), unpack(names))
    for before = 0, number do
      local at, count = string.match(found[before + 1] or '', '^(%d+) c(%d+)$')
      if at and count - before > 0 and now - at < memory + 0 then return true end
    end
  end
  return false
end
