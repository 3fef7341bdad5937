-- Opens the queue.
-- KEYS[1]  the farm's own hash
-- ARGV[3]  the new epoch, if there is none
-- Answers  {'ok', <epoch>}
-- include any events wake

local epoch = call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[3]
  call('HSET', KEYS[1], 'epoch', epoch)
  event('O ' .. epoch)
  wake('all')
  publish()
end
return {'ok', epoch}
