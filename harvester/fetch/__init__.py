"""Bytes of pictures, and as few others as possible.

A frame of a VOD costs one range request: the head of a segment, up to the end of its first picture
(:class:`~harvester.fetch.segments.SegmentReader`), as long as earlier heads of that source suggest
(:class:`~harvester.fetch.heads.HeadSizes`). A frame of a clip costs one too, after one for the index of its MP4
(:class:`~harvester.fetch.clips.ClipReader`). What is not the picture asked for is never fetched on purpose, and no
byte is fetched twice (:class:`~harvester.fetch.front.Front`). A whole VOD can be looked at in small first, in five
requests (:mod:`harvester.fetch.storyboard`).

Connections, retries, time-outs and the allow-list of hosts are the transport's; parsing is ``harvester.media``'s.
"""
