package e2e_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What of the NBD protocol QEMU needs: see doc/proto.md of the NetworkBlockDevice project.
const (
	nbdMagic       = 0x4e42444d41474943
	nbdOptMagic    = 0x49484156454f5054
	nbdReplyMagic  = 0x3e889045565a9
	nbdRequest     = 0x25609513
	nbdSimpleReply = 0x67446698

	nbdOptAbort = 2
	nbdOptGo    = 7

	nbdRepAck         = 1
	nbdRepInfo        = 3
	nbdRepUnsupported = 1<<31 | 1

	nbdFlags = 1 | 1<<2 | 1<<3 // has flags, takes FLUSH, takes FUA

	nbdRead  = 0
	nbdWrite = 1
	nbdDisc  = 2
	nbdFlush = 3
	nbdFUA   = 1 << 16 // as in the first 32 bits after the magic: flags, then type
)

// serve lets QEMU use d until it disconnects or dies. Requests are done in the order in which they
// come, one after the other.
func serve(c io.ReadWriter, d *disk) error {
	if err := greet(c, d.now.size); err != nil {
		return fmt.Errorf("NBD: %w", err)
	}
	for {
		var request struct {
			Magic, Command uint32
			Handle, Offset uint64
			Length         uint32
		}
		if err := binary.Read(c, binary.BigEndian, &request); err != nil {
			return ended(err)
		}
		if request.Magic != nbdRequest {
			return fmt.Errorf("NBD: a request with magic %#x", request.Magic)
		}
		answer := binary.BigEndian.AppendUint32(nil, nbdSimpleReply)
		answer = binary.BigEndian.AppendUint32(answer, 0)
		answer = binary.BigEndian.AppendUint64(answer, request.Handle)
		switch request.Command &^ nbdFUA {
		case nbdRead:
			at := len(answer)
			answer = append(answer, make([]byte, request.Length)...)
			d.readAt(answer[at:], int64(request.Offset))
		case nbdWrite:
			data := make([]byte, request.Length)
			if _, err := io.ReadFull(c, data); err != nil {
				return ended(err)
			}
			d.writeAt(data, int64(request.Offset), request.Command&nbdFUA != 0)
		case nbdFlush:
			d.flush()
		case nbdDisc:
			return nil
		default:
			return fmt.Errorf("NBD: command %#x was not offered", request.Command)
		}
		if _, err := c.Write(answer); err != nil {
			return ended(err)
		}
	}
}

// ended: that QEMU is gone is how a power cut begins.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
		return nil
	}
	return fmt.Errorf("NBD: %w", err)
}

// greet is the handshake, up to the end of the options.
func greet(c io.ReadWriter, size int64) error {
	const fixedNewstyle, noZeroes = 1, 2
	hello := binary.BigEndian.AppendUint64(nil, nbdMagic)
	hello = binary.BigEndian.AppendUint64(hello, nbdOptMagic)
	hello = binary.BigEndian.AppendUint16(hello, fixedNewstyle|noZeroes)
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(c, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var option struct {
			Magic        uint64
			Name, Length uint32
		}
		if err := binary.Read(c, binary.BigEndian, &option); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(option.Length)); err != nil {
			return err
		}
		switch option.Name {
		case nbdOptGo:
			info := binary.BigEndian.AppendUint16(nil, 0) // NBD_INFO_EXPORT
			info = binary.BigEndian.AppendUint64(info, uint64(size))
			info = binary.BigEndian.AppendUint16(info, nbdFlags)
			return errors.Join(nbdReply(c, option.Name, nbdRepInfo, info), nbdReply(c, option.Name, nbdRepAck, nil))
		case nbdOptAbort:
			return errors.New("QEMU does not want the disk")
		default:
			if err := nbdReply(c, option.Name, nbdRepUnsupported, nil); err != nil {
				return err
			}
		}
	}
}

func nbdReply(c io.Writer, option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, nbdReplyMagic)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}
