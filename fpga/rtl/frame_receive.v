// SPDX-License-Identifier: Apache-2.0
//
// Takes frames out of the bytes that come over the wire, and says what is wrong with them.
//
// Payload bytes are passed on as they come; whether they were right only the end of the frame
// tells. From then on, or from the first error, frame_valid is high, the fields hold, and the wire
// is ignored until `resume`. With `resume` comes `drain` if anything was wrong: then what is still
// under way is ignored too, until the line has been high for TIMEOUT clocks.
//
// Bytes before the start byte are skipped. Version, command and length are judged only when the
// CRC was right, so that codes 2 to 4 never come from a fault of the wire. fpga/README.md has the
// protocol.

`default_nettype none

module frame_receive #(
    parameter IMAGE_BYTES = 784,   // payload of `classify`
    parameter TIMEOUT     = 65536  // longest gap in a frame, clocks; more than a byte takes
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       rx_line,           // of uart_rx
    input  wire       rx_bit,
    input  wire       rx_bit_valid,
    input  wire [7:0] rx_data,
    input  wire       rx_valid,
    input  wire       rx_framing_error,
    output wire       idle,              // no frame has begun
    output wire       payload_valid,     // rx_data is a byte of the payload
    output wire       image_valid,       // and that is an image
    output wire       frame_valid,
    output reg  [3:0] code,              // 0, or what is wrong
    output reg  [7:0] command,           // 0 where it has not come yet
    output reg  [7:0] tag,               // likewise
    input  wire       resume,
    input  wire       drain
);

    localparam TIMER_WIDTH = $clog2(TIMEOUT) + 1;
    localparam TIMER_FIRST = TIMEOUT - 1;

    localparam [7:0] SYNC = 8'hC5, VERSION = 1;
    localparam [7:0] IDENTIFY = 1, CLASSIFY = 2, REPEAT = 3, STATUS = 4;
    localparam [3:0] OK = 0, WRONG_CRC = 1, UNKNOWN_VERSION = 2, UNKNOWN_COMMAND = 3,
                     WRONG_LENGTH = 4, GAP = 5, FRAMING = 8;
    localparam [2:0] HUNT = 0, HEADER = 1, PAYLOAD = 2, CHECK = 3, HOLD = 4, DRAIN = 5;

    reg [2:0]             state_reg = HUNT;
    reg [2:0]             index_reg = 0;          // of the byte in header or check value
    reg [TIMER_WIDTH-1:0] timer_reg = 0;          // counts down; negative: the time is up
    reg [15:0]            left_reg;               // length, then bytes of payload still to come
    reg                   wrong_version_reg;
    reg                   wrong_length_reg;
    reg                   wrong_crc_reg;

    wire known    = command == IDENTIFY || command == CLASSIFY || command == REPEAT
                    || command == STATUS;
    wire in_frame = state_reg == HEADER || state_reg == PAYLOAD || state_reg == CHECK;
    wire expired  = timer_reg[TIMER_WIDTH-1];

    // In the clock in which the header's last byte is there.
    wire [15:0] length   = {rx_data, left_reg[7:0]};
    wire [15:0] expected = (command == CLASSIFY) ? IMAGE_BYTES[15:0]
                           : (command == REPEAT) ? 16'd2 : 16'd0;

    wire       crc_bit;
    wire [6:0] unused_crc;

    assign idle          = state_reg == HUNT;
    assign payload_valid = state_reg == PAYLOAD && rx_valid;
    assign image_valid   = payload_valid && command == CLASSIFY && !wrong_length_reg;
    assign frame_valid   = state_reg == HOLD;

    crc32 crc32 (
        .clk      (clk),
        .init     (idle),
        .step     (rx_bit_valid),
        .drain    (state_reg == CHECK),
        .data_bit (rx_bit),
        .value    ({unused_crc, crc_bit})
    );

    always @(posedge clk) begin
        // Only a high line counts as silence.
        if (!rx_line || idle || frame_valid)
            timer_reg <= TIMER_FIRST[TIMER_WIDTH-1:0];
        else
            timer_reg <= timer_reg - 1'b1;

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
                if (rx_valid) begin
                    index_reg <= index_reg + 1'b1;
                    case (index_reg)
                        0: wrong_version_reg <= rx_data != VERSION;
                        1: command           <= rx_data;
                        2: tag               <= rx_data;
                        3: left_reg[7:0]     <= rx_data;
                        default: begin
                            left_reg[15:8]   <= rx_data;
                            wrong_length_reg <= length != expected;
                            index_reg        <= 0;
                            state_reg        <= (length == 0) ? CHECK : PAYLOAD;
                        end
                    endcase
                end
            PAYLOAD:
                if (rx_valid) begin
                    left_reg <= left_reg - 1'b1;
                    if (left_reg == 1)
                        state_reg <= CHECK;
                end
            CHECK: begin
                if (rx_bit_valid && rx_bit != crc_bit)
                    wrong_crc_reg <= 1'b1;
                if (rx_valid) begin
                    index_reg <= index_reg + 1'b1;
                    if (index_reg == 3) begin
                        state_reg <= HOLD;
                        code      <= wrong_crc_reg     ? WRONG_CRC
                                     : wrong_version_reg ? UNKNOWN_VERSION
                                     : !known            ? UNKNOWN_COMMAND
                                     : wrong_length_reg  ? WRONG_LENGTH : OK;
                    end
                end
            end
            HOLD:
                if (resume)
                    state_reg <= drain ? DRAIN : HUNT;
            default:
                if (expired)
                    state_reg <= HUNT;
        endcase

        if (in_frame && (rx_framing_error || expired)) begin
            state_reg <= HOLD;
            code      <= rx_framing_error ? FRAMING : GAP;
        end

        if (rst) begin
            state_reg <= HUNT;
            index_reg <= 0;
            timer_reg <= 0;
        end
    end

endmodule

`default_nettype wire
