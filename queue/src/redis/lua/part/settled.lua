-- How a call ended, for a client that lost the answer, as part/settle.lua remembers it.
local function settled(name, memory)
  local found = call('HGET', settled_at(memory, 0), name)
    or call('HGET', settled_at(memory, 1), name)
  if found then
    local at, how = string.match(found, '^(%d+) (.*)$')
    if now - at < memory + 0 then return how end
  end
end
