// SPDX-License-Identifier: Apache-2.0
//
// Takes frames out of the bytes that come over the wire, and says what is wrong with them.
//
// Payload bytes are passed on as they come; whether they were right only the end of the frame
// tells. From then on, or from the first error, frame_valid is high, the fields hold, and the wire
// is ignored until `resume`. With `resume` comes `drain` if anything was wrong: then what is still
// under way is ignored too, until the line has been silent for the time of `timeout`.
//
// Bytes before the start byte are skipped. Version, command and length are judged only when the
// CRC was right, so that codes 2 to 4 never come from a fault of the wire. fpga/README.md has the
// protocol.

`default_nettype none

module frame_receive #(
    parameter IMAGE_BYTES = 784  // payload of `classify`, at most 65,535
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       rx_line,           // of uart_rx
    input  wire       rx_bit,
    input  wire       rx_bit_valid,
    input  wire [7:0] rx_data,
    input  wire       rx_valid,
    input  wire       rx_framing_error,
    output wire       silence_restart,   // to timeout
    input  wire       silence_expired,
    output wire       crc_init,          // to crc32
    output wire       crc_step,
    output wire       crc_drain,
    input  wire       crc_bit,           // the next bit of the check value
    output wire       idle,              // no frame has begun
    output wire       payload_valid,     // rx_data is a byte of the payload
    output wire       image_valid,       // and that is an image
    output wire       frame_valid,
    output reg  [3:0] code,              // 0, or what is wrong
    output reg  [7:0] command,           // 0 where it has not come yet
    output reg  [7:0] tag,               // likewise
    output reg        identify,          // command, decoded
    output reg        classify,
    output reg        repeating,
    output reg        status,
    input  wire       resume,
    input  wire       drain
);

    localparam [7:0] SYNC = 8'hC5, VERSION = 1;
    localparam [7:0] IDENTIFY = 1, CLASSIFY = 2, REPEAT = 3, STATUS = 4;
    localparam [3:0] OK = 0, WRONG_CRC = 1, UNKNOWN_VERSION = 2, UNKNOWN_COMMAND = 3,
                     WRONG_LENGTH = 4, GAP = 5, FRAMING = 8;
    localparam [2:0] HUNT = 0, HEADER = 1, PAYLOAD = 2, CHECK = 3, HOLD = 4, DRAIN = 5;

    reg [2:0]  state_reg = HUNT;
    reg [15:0] index_reg = 0;      // of the next byte in its part of the frame
    reg [15:0] length_reg;
    reg        wrong_version_reg;
    reg        wrong_crc_reg;

    wire known    = identify || classify || repeating || status;
    wire in_frame = state_reg == HEADER || state_reg == PAYLOAD || state_reg == CHECK;
    wire complete = index_reg == length_reg;

    wire [15:0] expected     = classify  ? IMAGE_BYTES[15:0]
                               : repeating ? 16'd2 : 16'd0;
    wire        wrong_length = length_reg != expected;

    // Only a high line counts as silence.
    assign silence_restart = !rx_line || idle || frame_valid;
    assign crc_init        = idle;
    assign crc_step        = rx_bit_valid;
    assign crc_drain       = state_reg == CHECK;
    assign idle            = state_reg == HUNT;
    assign payload_valid   = state_reg == PAYLOAD && rx_valid;
    assign image_valid     = payload_valid && classify && !wrong_length;
    assign frame_valid     = state_reg == HOLD;

    always @(posedge clk) begin
        // Long before anyone asks.
        identify  <= command == IDENTIFY;
        classify  <= command == CLASSIFY;
        repeating <= command == REPEAT;
        status    <= command == STATUS;

        if (rx_valid)
            index_reg <= index_reg + 1'b1;

        case (state_reg)
            HUNT: begin
                index_reg     <= 0;
                code          <= OK;
                command       <= 0;
                tag           <= 0;
                wrong_crc_reg <= 1'b0;
                if (rx_valid && rx_data == SYNC)
                    state_reg <= HEADER;
            end
            HEADER:
                if (rx_valid)
                    case (index_reg[2:0])
                        0: wrong_version_reg <= rx_data != VERSION;
                        1: command           <= rx_data;
                        2: tag               <= rx_data;
                        3: length_reg[7:0]   <= rx_data;
                        default: begin
                            length_reg[15:8] <= rx_data;
                            index_reg        <= 0;
                            state_reg        <= PAYLOAD;
                        end
                    endcase
            // A clock after its last byte, of which there may be none, the payload is over.
            PAYLOAD:
                if (complete) begin
                    index_reg <= 0;
                    state_reg <= CHECK;
                end
            CHECK: begin
                if (rx_bit_valid && rx_bit != crc_bit)
                    wrong_crc_reg <= 1'b1;
                if (rx_valid && index_reg[1:0] == 3) begin
                    state_reg <= HOLD;
                    code      <= wrong_crc_reg       ? WRONG_CRC
                                 : wrong_version_reg ? UNKNOWN_VERSION
                                 : !known            ? UNKNOWN_COMMAND
                                 : wrong_length      ? WRONG_LENGTH : OK;
                end
            end
            HOLD:
                if (resume)
                    state_reg <= drain ? DRAIN : HUNT;
            default:
                if (silence_expired)
                    state_reg <= HUNT;
        endcase

        if (in_frame && (rx_framing_error || silence_expired)) begin
            state_reg <= HOLD;
            code      <= rx_framing_error ? FRAMING : GAP;
        end

        if (rst) begin
            state_reg <= HUNT;
            index_reg <= 0;
        end
    end

endmodule

`default_nettype wire
