"""The parts of ``scripts/live_check.py``: what harvester takes for granted about Twitch, asked of Twitch itself.

finding (what an assumption is, what an answer says) · scene (one VOD, one clip and a few requests to look at) ·
catalogue, playback, media, clips (the assumptions, in groups) · table (their order).
"""
