-- Whether the worker can do tasks with these needs: `<memory>|<tag>,<tag>|<model>` and more models
-- after line breaks.
local function fits(needs, memory, tags)
  local need, need_tags = string.match(needs, '^(%d+)|([^|]*)|')
  if tonumber(need) > tonumber(memory) then return false end
  if need_tags ~= '' then
    for tag in string.gmatch(need_tags, '[^,]+') do
      if not string.find(tags, ',' .. tag .. ',', 1, true) then return false end
    end
  end
  return true
end
