"""What the article claims, one by one, and the labs that put it to the test.

The claims are those of an article in Chinese that explains TCP by one experiment ("TCP: three-way handshake, four-way
close, watched with tcpdump"); they are told here in our words.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        id: "C01" and so on.
        text: what is claimed, in English.
        chinese: the same in Chinese.
        labs: the labs whose runs decide it.
    """

    id: str
    text: str
    chinese: str
    labs: tuple[str, ...]


CLAIMS = (
    Claim(
        "C01",
        "The flag ACK is 0 while a connection is asked for, and 1 once something is acknowledged.",
        "请求建立连接时 ACK 标志为 0,一旦有内容被确认就为 1。",
        ("article",),
    ),
    Claim("C02", "SYN = 1 asks to open a connection.", "SYN = 1 表示请求建立连接。", ("article",)),
    Claim(
        "C03",
        "seq numbers the pieces, so that the receiver can put them together.",
        "seq 给数据分段编号,接收方据此重新组装。",
        ("sequence-numbers",),
    ),
    Claim(
        "C04",
        "ack names what is expected next: seq + 1.",
        "ack 是期望收到的下一个序号:seq + 1。",
        ("article", "sequence-numbers"),
    ),
    Claim("C05", "FIN = 1 asks to close the connection.", "FIN = 1 表示请求释放连接。", ("article", "teardown")),
    Claim(
        "C06",
        "The flag ACK and the number ack are two things.",
        "标志位 ACK 与确认号 ack 是两回事。",
        ("article",),
    ),
    Claim(
        "C07",
        "First step of the handshake: the initiator sends SYN with a seq of its own.",
        "第一次握手:主动方发送 SYN 和自己的初始 seq。",
        ("article",),
    ),
    Claim(
        "C08",
        "Second step: the responder answers SYN + ACK, with ack = the initiator's seq + 1 and a seq of its own.",
        "第二次握手:被动方回复 SYN + ACK,ack = 对方 seq + 1,并带上自己的初始 seq。",
        ("article",),
    ),
    Claim(
        "C09",
        "Third step: the initiator sends ACK, with seq = its own + 1 and ack = the responder's seq + 1.",
        "第三次握手:主动方发送 ACK,seq = 自己的 seq + 1,ack = 对方 seq + 1。",
        ("article",),
    ),
    Claim(
        "C10",
        "The third step exists because a delayed old SYN would otherwise open a connection that nobody wants.",
        "之所以需要第三次握手,是为了防止迟到的旧 SYN 建立一个没有人要的连接。",
        ("delayed-syn",),
    ),
    Claim(
        "C11",
        "First step of the close: the end that closes sends FIN.",
        "第一次挥手:主动关闭方发送 FIN。",
        ("article", "teardown"),
    ),
    Claim(
        "C12",
        "Second step: the other end answers with ACK.",
        "第二次挥手:对方回复 ACK。",
        ("article", "teardown"),
    ),
    Claim(
        "C13",
        "Third step: later it sends FIN + ACK of its own.",
        "第三次挥手:对方稍后发送自己的 FIN + ACK。",
        ("article", "teardown"),
    ),
    Claim(
        "C14",
        "Fourth step: the end that closed first answers with ACK.",
        "第四次挥手:主动关闭方回复 ACK。",
        ("article", "teardown"),
    ),
    Claim(
        "C15",
        "The end that closes first stays in TIME-WAIT for 2 MSL.",
        "主动关闭方在 TIME-WAIT 状态停留 2MSL。",
        ("time-wait",),
    ),
    Claim(
        "C16",
        "TIME-WAIT lets a lost last ACK be sent again: the peer in LAST-ACK repeats its FIN.",
        "TIME-WAIT 使丢失的最后一个 ACK 能够重发:处于 LAST-ACK 的对方会重发 FIN。",
        ("lost-last-ack",),
    ),
    Claim(
        "C17",
        "TIME-WAIT keeps segments of the old connection from being taken for the new one.",
        "TIME-WAIT 防止旧连接的报文段被当作新连接的报文段。",
        ("old-duplicate",),
    ),
    Claim(
        "C18",
        "tcpdump: -c count, -n numeric, port, -I interface, -S absolute numbers.",
        "tcpdump:-c 个数,-n 不解析名字,port 端口,-I 网卡,-S 绝对序号。",
        ("article",),
    ),
    Claim(
        "C19",
        "`tcpdump -n -c 6 -S port 22 -i ens33` while connecting shows the handshake.",
        "连接时执行 `tcpdump -n -c 6 -S port 22 -i ens33` 可以看到三次握手。",
        ("article",),
    ),
    Claim(
        "C20",
        "The same command while disconnecting shows the close.",
        "断开时执行同一命令可以看到四次挥手。",
        ("article",),
    ),
    Claim(
        "C21",
        "Another ssh window (xshell) disturbs the capture.",
        "另开一个 ssh 窗口(xshell)会干扰抓包。",
        ("article",),
    ),
)
