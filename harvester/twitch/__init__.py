"""Twitch: ``helix`` finds categories and their sources (twitchAPI), ``playback`` opens a source (streamlink)."""
