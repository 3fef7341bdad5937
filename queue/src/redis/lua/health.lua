-- What the server says of itself.
-- KEYS[1]  the farm's own hash
-- Answers  the INFO text of the server that holds the farm

return redis.call('INFO')
