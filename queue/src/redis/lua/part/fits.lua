-- Whether the worker can do tasks with these needs (`<memory>|<tag>,<tag>|<model>` and more
-- models after line breaks), and whether it has their models loaded.
local function fits(needs, memory, tags, loaded)
  if needs == '0||' then return true, true end
  local need, need_tags, models = string.match(needs, '^(%d+)|([^|]*)|(.*)$')
  if tonumber(need) > memory then return false end
  for tag in string.gmatch(need_tags, '[^,]+') do
    if not string.find(tags, ',' .. tag .. ',', 1, true) then return false end
  end
  for model in string.gmatch(models, '[^\n]+') do
    if not string.find(loaded, '\n' .. model .. '\n', 1, true) then return true, false end
  end
  return true, true
end
