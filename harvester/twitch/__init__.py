"""Twitch: ``helix`` finds categories and their sources (twitchAPI), ``playback`` opens a source, ``gql`` tells of
a VOD what Helix does not: its category, chapters and storyboard.

Below ``playback``: ``desk`` (streamlink) asks, ``adapter`` (requests) sends, ``questions`` says how GQL is asked.
"""
