"""Twitch: ``helix`` finds categories and their sources (twitchAPI), ``playback`` opens a source (streamlink),
``gql`` tells of a VOD what Helix does not: its category, chapters and storyboard.
"""
