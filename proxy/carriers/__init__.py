"""How bytes travel to one HTTP/1.1 origin and back. `carrier.py` says what a carrier is; `llhttp.py` is ours, and
`reference.py`, on aiohttp, is the one that it must agree with. Nothing here knows of shapes, policies or refusals."""
