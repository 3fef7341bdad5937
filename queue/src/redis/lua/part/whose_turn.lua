-- Whose turn it is where the farm has no `sole`: job, layer as text, user; and the needs, if there
-- is one group of one user.
local function whose_turn(memory, tags, loaded)
  local groups = call('ZRANGE', P .. 'ready', 0, 1)
  local users = groups[1] and not groups[2] and call('ZRANGE', P .. 'u:' .. groups[1], 0, 1)
  local user, needs, offer
  if users and not users[2] then
    needs, user = string.match(groups[1], '|(.*)$'), users[1]
    if fits(needs, memory, tags) then
      offer = call('ZRANGE', P .. 'o:' .. groups[1] .. '|' .. user, 0, 0)[1]
    end
  elseif groups[1] then
    store_served()
    user, offer = choose(memory, tags, loaded)
  end
  if not offer then return end
  local id, at_text = string.match(offer, '^(%x+)/(%d+)$')
  return id, at_text, user, needs
end
